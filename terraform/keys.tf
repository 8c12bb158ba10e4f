# Keys of Cloud KMS: rings for what is encrypted at rest by Google's services, for personal data, for receipts.

resource "google_kms_key_ring" "this" {
  for_each = toset(["platform", "data", "receipts"])

  name     = each.key
  location = local.region

  depends_on = [google_project_service.this]
}

locals {
  # What each key encrypts -> the agents that use it.
  cmek_agents = {
    artifacts = ["artifactregistry", "cloudfunctions", "run", "storage"]
    firestore = ["firestore"]
    logging   = ["logging"]
    pubsub    = ["pubsub"]
    secrets   = ["secretmanager"]
    sql       = ["sqladmin"]
    storage   = ["storage"]
  }
}

module "cmek_key" {
  source   = "./modules/cmek_key"
  for_each = local.cmek_agents

  name         = each.key
  key_ring     = google_kms_key_ring.this["platform"].id
  agents       = { for agent in each.value : agent => local.agents[agent] }
  wait_seconds = var.service_agent_wait_seconds
  protect      = var.protect_data

  depends_on = [terraform_data.agents_known]
}

# Wraps the monthly epoch keys, which wrap the key of each subject.
resource "google_kms_crypto_key" "personal_data" {
  name                       = "personal-data"
  key_ring                   = google_kms_key_ring.this["data"].id
  purpose                    = "ENCRYPT_DECRYPT"
  rotation_period            = "7776000s" # 90 days; what an older version wrapped stays readable
  destroy_scheduled_duration = "2592000s"
  deletion_policy            = var.protect_data ? "PREVENT" : "DELETE"
}

# A function that encrypts personal data wraps and unwraps epoch keys.
resource "google_kms_crypto_key_iam_member" "personal_data" {
  for_each = toset([for name, f in local.functions : name if f.encrypts])

  crypto_key_id = google_kms_crypto_key.personal_data.id
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = google_service_account.function[each.key].member
}

# Signs receipts. A new version is a new public key, so it is rotated by hand: docs/operations/first-apply.md.
resource "google_kms_crypto_key" "receipts" {
  name                       = "receipts"
  key_ring                   = google_kms_key_ring.this["receipts"].id
  purpose                    = "ASYMMETRIC_SIGN"
  destroy_scheduled_duration = "2592000s"
  deletion_policy            = var.protect_data ? "PREVENT" : "DELETE"

  version_template {
    algorithm        = "EC_SIGN_P256_SHA256"
    protection_level = "SOFTWARE"
  }
}

# A function that signs receipts signs with the key, and publishes its public half.
resource "google_kms_crypto_key_iam_member" "receipts" {
  for_each = toset([for name, f in local.functions : name if f.signs])

  crypto_key_id = google_kms_crypto_key.receipts.id
  role          = "roles/cloudkms.signerVerifier"
  member        = google_service_account.function[each.key].member
}

# Each use of a key that protects personal data is on record.
resource "google_project_iam_audit_config" "keys" {
  project = var.project_id
  service = "cloudkms.googleapis.com"

  audit_log_config {
    log_type = "DATA_READ"
  }
}
