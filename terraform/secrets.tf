# Secrets, one for each name that a function's entry in the catalog lists. Their values are put in by hand or by rotation,
# never by Terraform, whose state would hold them.

resource "google_secret_manager_secret" "this" {
  for_each = toset(flatten([for f in local.functions : f.secrets]))

  secret_id = each.key

  # Automatic replication would leave India.
  replication {
    user_managed {
      replicas {
        location = local.region

        customer_managed_encryption {
          kms_key_name = module.cmek_key["secrets"].id
        }
      }
    }
  }
}

# A function reads the secrets that its entry in the catalog lists.
resource "google_secret_manager_secret_iam_member" "reader" {
  for_each = {
    for pair in flatten([for name, f in local.functions : [for secret in f.secrets : { function = name, secret = secret }]]) :
    "${pair.function}.${pair.secret}" => pair
  }

  secret_id = google_secret_manager_secret.this[each.value.secret].id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.function[each.value.function].member
}
