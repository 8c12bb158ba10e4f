variables {
  name         = "pubsub"
  key_ring     = "projects/kapas-test/locations/asia-south1/keyRings/platform"
  agents       = { pubsub = "serviceAccount:service-1@gcp-sa-pubsub.iam.gserviceaccount.com" }
  wait_seconds = 0
  protect      = false
}

run "known_once_the_agents_may_use_it" {
  assert {
    condition     = output.id == "projects/kapas-test/locations/asia-south1/keyRings/platform/cryptoKeys/pubsub"
    error_message = "The output is the key's full name."
  }
  assert {
    condition     = google_kms_crypto_key_iam_member.agent["pubsub"].role == "roles/cloudkms.cryptoKeyEncrypterDecrypter"
    error_message = "The agent encrypts and decrypts, and does not manage the key."
  }
  assert {
    condition     = google_kms_crypto_key.this.rotation_period == "7776000s"
    error_message = "The key is rotated every 90 days."
  }
}

run "protected" {
  command = plan

  variables {
    name    = "sql"
    protect = true
  }

  assert {
    condition     = google_kms_crypto_key.this.deletion_policy == "PREVENT"
    error_message = "What is encrypted would be lost with the key."
  }
}

run "refuses_people" {
  command         = plan
  expect_failures = [var.agents]

  variables {
    agents = { someone = "user:someone@example.com" }
  }
}
