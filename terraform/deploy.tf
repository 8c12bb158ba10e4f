# Who deploys: a merge to main runs cloudbuild.yaml as an account that may do what this configuration does, and no more.

locals {
  deployer_roles = toset([
    "roles/artifactregistry.admin",
    "roles/certificatemanager.owner",
    "roles/cloudbuild.builds.editor",
    "roles/cloudbuild.workerPoolOwner",
    "roles/cloudfunctions.admin",
    "roles/cloudkms.admin",
    "roles/cloudscheduler.admin",
    "roles/cloudsql.admin",
    "roles/cloudtasks.admin",
    "roles/compute.loadBalancerAdmin",
    "roles/compute.networkAdmin",
    "roles/compute.securityAdmin",
    "roles/datastore.owner",
    "roles/dns.admin",
    "roles/firebaserules.admin",
    "roles/iam.roleAdmin",
    "roles/iam.serviceAccountAdmin",
    "roles/identityplatform.admin",
    "roles/logging.admin",
    "roles/monitoring.admin",
    "roles/pubsub.admin",
    "roles/run.admin",
    "roles/secretmanager.admin",
    "roles/serviceusage.serviceUsageAdmin",
    "roles/storage.admin",
  ])

  # What the deployer may grant in the project: the roles that a new entry in the catalog needs there. Every other grant in
  # the project is an owner's to make, for IAM takes ten roles in such a condition and no more.
  grantable_roles = ["roles/cloudsql.instanceUser", "roles/datastore.user"]

  release_sources = (
    var.repository == null ? {} : { main = "https://github.com/${var.repository.owner}/${var.repository.name}" }
  )

  deployer_acts_as = merge(
    { for name, account in google_service_account.function : name => account.name },
    { for kind in ["topics", "schedule"] : local.callers[kind].account => google_service_account.caller[kind].name },
    {
      (google_service_account.builder.account_id)  = google_service_account.builder.name
      (google_service_account.deployer.account_id) = google_service_account.deployer.name
      (google_service_account.migrator.account_id) = google_service_account.migrator.name
    },
  )
}

resource "google_service_account" "deployer" {
  account_id   = "deployer"
  display_name = "Applies this configuration"
}

# The deployer makes and changes what this configuration holds.
resource "google_project_iam_member" "deployer" {
  for_each = local.deployer_roles

  project = var.project_id
  role    = each.key
  member  = google_service_account.deployer.member
}

# The deployer grants what a new function needs in the project, and nothing else there: it cannot make itself an owner.
resource "google_project_iam_member" "deployer_grants" {
  project = var.project_id
  role    = "roles/resourcemanager.projectIamAdmin"
  member  = google_service_account.deployer.member

  condition {
    title      = "roles-of-functions"
    expression = "api.getAttribute('iam.googleapis.com/modifiedGrantsByRole', []).hasOnly([${join(", ", [for role in local.grantable_roles : "'${role}'"])}])"
  }
}

# Who deploys a function, a push subscription, a job or a build that runs as an account must be allowed to act as it.
resource "google_service_account_iam_member" "deployer_acts_as" {
  for_each = local.deployer_acts_as

  service_account_id = each.value
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.deployer.member
}

resource "google_cloudbuild_trigger" "main" {
  for_each = var.repository == null ? {} : { main = var.repository }

  name            = "deploy"
  location        = local.region
  description     = "A merge to main"
  service_account = google_service_account.deployer.id
  filename        = "cloudbuild.yaml"
  substitutions   = { _ENVIRONMENT = var.environment, _DATABASE_INSTANCE = var.database_instance }

  github {
    owner = each.value.owner
    name  = each.value.name
    push {
      branch = "^main$"
    }
  }

  depends_on = [google_project_service.this]
}

# Run by the build above with the plan it made; nothing happens until somebody has approved it.
resource "google_cloudbuild_trigger" "release" {
  for_each = local.release_sources

  name            = "release"
  location        = local.region
  description     = "An approved plan"
  service_account = google_service_account.deployer.id
  substitutions   = { _ENVIRONMENT = var.environment, _PLANNED_BY = "none" }

  approval_config {
    approval_required = true
  }

  source_to_build {
    uri       = each.value
    ref       = "refs/heads/main"
    repo_type = "GITHUB"
  }

  git_file_source {
    path      = "cloudbuild-release.yaml"
    uri       = each.value
    revision  = "refs/heads/main"
    repo_type = "GITHUB"
  }

  depends_on = [google_project_service.this]
}

# Run by an operator, with the function and the revision that is to serve: docs/operations/rollback.md.
resource "google_cloudbuild_trigger" "roll_back" {
  for_each = local.release_sources

  name            = "roll-back"
  location        = local.region
  description     = "All calls of one function to one of its revisions"
  service_account = google_service_account.deployer.id
  substitutions   = { _FUNCTION = "none", _REVISION = "none" }

  source_to_build {
    uri       = each.value
    ref       = "refs/heads/main"
    repo_type = "GITHUB"
  }

  git_file_source {
    path      = "cloudbuild-roll-back.yaml"
    uri       = each.value
    revision  = "refs/heads/main"
    repo_type = "GITHUB"
  }

  depends_on = [google_project_service.this]
}
