# One key that a service encrypts with at rest, and the agents that may use it. Who uses the output waits for the grants.

resource "google_kms_crypto_key" "this" {
  name                       = var.name
  key_ring                   = var.key_ring
  purpose                    = "ENCRYPT_DECRYPT"
  rotation_period            = "7776000s" # 90 days
  destroy_scheduled_duration = "2592000s"
  deletion_policy            = var.protect ? "PREVENT" : "DELETE"
}

# The service's agent encrypts and decrypts what the service stores.
resource "google_kms_crypto_key_iam_member" "agent" {
  for_each = var.agents

  crypto_key_id = google_kms_crypto_key.this.id
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = each.value
}

resource "terraform_data" "granted" {
  triggers_replace = [for grant in google_kms_crypto_key_iam_member.agent : grant.id]

  provisioner "local-exec" {
    command = "sleep ${var.wait_seconds}"
  }
}
