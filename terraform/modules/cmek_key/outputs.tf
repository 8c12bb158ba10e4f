output "id" {
  description = "The key's full name, once its agents may use it."
  value       = google_kms_crypto_key.this.id
  depends_on  = [terraform_data.granted]
}
