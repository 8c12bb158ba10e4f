output "name" {
  description = "The Cloud Run service's name; known once the function and its grants are there."
  value       = google_cloudfunctions2_function.this.name
  depends_on  = [google_cloud_run_v2_service_iam_member.invoker]
}
