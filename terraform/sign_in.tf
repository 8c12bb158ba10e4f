# Who signs in: Identity Platform makes the one token of an app, for the API and for Firestore's rules, which take no other
# issuer's (docs/decisions/0023-identity-platform-signs-in.md).

locals {
  sign_in = {
    issuer   = "https://securetoken.google.com/${var.project_id}"
    audience = var.project_id
    jwks_url = "https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com"
  }
}

# It is made once for a project, and stays when Terraform forgets it.
resource "google_identity_platform_config" "this" {
  project            = var.project_id
  authorized_domains = [var.domain]

  sign_in {
    allow_duplicate_emails = false

    email {
      enabled           = true
      password_required = true
    }
  }

  # An account comes with its claims, `partner_id`, `role` and `tier`, from whoever makes it: nobody makes their own.
  client {
    permissions {
      disabled_user_signup   = true
      disabled_user_deletion = true
    }
  }

  depends_on = [google_project_service.this]
}
