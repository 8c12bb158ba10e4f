# Buckets, one for each that a function's entry in the catalog lists, and one for the functions' code. Names are global, so
# they start with the project's.

locals {
  # Where a bucket differs from keeping each file until a function deletes it, and the deleted one for 30 days more, in which
  # it can be restored. Cloud Storage itself keeps what is deleted for good for 7 days. docs/privacy.md tells partners of both.
  bucket_rules = {
    # Fetched within days, and made again from the truth at any time: what is deleted need not be restored.
    exports = { delete_after_days = 30, versions = false }
  }
  buckets = {
    for bucket in distinct(flatten([for f in local.functions : f.buckets])) :
    bucket => lookup(local.bucket_rules, bucket, { delete_after_days = 0, versions = true })
  }
}

resource "google_storage_bucket" "files" {
  for_each = local.buckets

  name                        = "${var.project_id}-${each.key}"
  location                    = local.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = !var.protect_data
  deletion_policy             = var.protect_data ? "PREVENT" : "DELETE"

  encryption {
    default_kms_key_name = module.cmek_key["storage"].id
  }

  versioning {
    enabled = each.value.versions
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      days_since_noncurrent_time = 30
      with_state                 = "ARCHIVED"
    }
  }

  dynamic "lifecycle_rule" {
    for_each = each.value.delete_after_days == 0 ? [] : [each.value.delete_after_days]

    content {
      action {
        type = "Delete"
      }
      condition {
        age = lifecycle_rule.value
      }
    }
  }
}

# A function keeps files in the buckets that its entry in the catalog lists; its URLs may do what it may.
resource "google_storage_bucket_iam_member" "files" {
  for_each = {
    for pair in flatten([for name, f in local.functions : [for bucket in f.buckets : { function = name, bucket = bucket }]]) :
    "${pair.function}.${pair.bucket}" => pair
  }

  bucket = google_storage_bucket.files[each.value.bucket].name
  role   = "roles/storage.objectUser"
  member = google_service_account.function[each.value.function].member
}

resource "google_project_iam_custom_role" "url_signer" {
  role_id     = "kapasUrlSigner"
  title       = "Signs URLs"
  description = "What signing a URL of Cloud Storage needs, and no more: the token creator's role could make tokens, too."
  permissions = ["iam.serviceAccounts.signBlob"]
}

# A function that keeps files signs URLs of them, as itself.
resource "google_service_account_iam_member" "url_signer" {
  for_each = toset([for name, f in local.functions : name if length(f.buckets) > 0])

  service_account_id = google_service_account.function[each.key].name
  role               = google_project_iam_custom_role.url_signer.name
  member             = google_service_account.function[each.key].member
}

resource "google_storage_bucket" "bundles" {
  name                        = "${var.project_id}-bundles"
  location                    = local.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = !var.protect_data

  encryption {
    default_kms_key_name = module.cmek_key["storage"].id
  }

  versioning {
    enabled = true
  }

  # Bundles are named by their content, so a rollback finds the old ones for this long.
  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age = 180
    }
  }
}
