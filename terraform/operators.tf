# Who runs the system: what each runbook in docs/operations asks of them, and no more. What changes code, data or grants goes
# through a release, or through an owner for that one time.

locals {
  operator_roles = toset([
    "roles/cloudbuild.builds.approver", # a plan, or its refusal
    "roles/cloudbuild.builds.editor",   # the trigger roll-back, and tools in the network by terraform/migrate.yaml
    "roles/cloudtasks.queueAdmin",      # pause and resume
    "roles/logging.viewAccessor",       # the buckets kapas-system and kapas-audit
    "roles/logging.viewer",             # Cloud Logging itself
    "roles/monitoring.viewer",          # alerts and the dashboard
    "roles/run.viewer",                 # services and revisions
  ])
}

resource "google_project_iam_custom_role" "operator" {
  role_id     = "kapasOperator"
  title       = "Operates"
  description = "What runbooks ask for, where Google's own roles would also delete databases, jobs or keys."
  permissions = [
    "cloudbuild.workerpools.use",
    "cloudkms.cryptoKeyVersions.create",
    "cloudkms.cryptoKeyVersions.get",
    "cloudkms.cryptoKeyVersions.list",
    "cloudkms.cryptoKeyVersions.update",
    "cloudkms.cryptoKeys.get",
    "cloudkms.cryptoKeys.list",
    "cloudkms.cryptoKeys.update",
    "cloudscheduler.jobs.enable",
    "cloudscheduler.jobs.get",
    "cloudscheduler.jobs.list",
    "cloudscheduler.jobs.pause",
    "cloudscheduler.jobs.run",
    "cloudsql.backupRuns.get",
    "cloudsql.backupRuns.list",
    "cloudsql.instances.clone",
    "cloudsql.instances.create",
    "cloudsql.instances.get",
    "cloudsql.instances.list",
    "cloudsql.instances.restoreBackup",
    "compute.regionSecurityPolicies.get",
    "compute.regionSecurityPolicies.list",
    "compute.regionSecurityPolicies.update",
    "serviceusage.services.use",
    "storage.buckets.get",
  ]
}

# Operators approve plans, watch, pause, roll back, and bring a backup back, as the runbooks say.
resource "google_project_iam_member" "operators" {
  for_each = local.operator_roles

  project = var.project_id
  role    = each.key
  member  = var.operators
}

moved {
  from = google_project_iam_member.approvers
  to   = google_project_iam_member.operators["roles/cloudbuild.builds.approver"]
}

# Operators do what runbooks ask for where Google's own roles would also delete databases, jobs or keys.
resource "google_project_iam_member" "operators_runbooks" {
  project = var.project_id
  role    = google_project_iam_custom_role.operator.name
  member  = var.operators
}

# Operators put the sources of such builds beside the bundles; bundles themselves they cannot change.
resource "google_storage_bucket_iam_member" "operators" {
  bucket = google_storage_bucket.bundles.name
  role   = "roles/storage.objectCreator"
  member = var.operators

  condition {
    title      = "sources-of-builds"
    expression = "resource.name.startsWith(\"projects/_/buckets/${google_storage_bucket.bundles.name}/objects/source/\")"
  }
}

# Operators run the tools of the database in builds, as the migrator (terraform/migrate.yaml).
resource "google_service_account_iam_member" "operators_act_as_migrator" {
  service_account_id = google_service_account.migrator.name
  role               = "roles/iam.serviceAccountUser"
  member             = var.operators
}

# Operators put new values into secrets; they read none.
resource "google_secret_manager_secret_iam_member" "operators" {
  for_each = google_secret_manager_secret.this

  secret_id = each.value.secret_id
  role      = "roles/secretmanager.secretVersionAdder"
  member    = var.operators
}
