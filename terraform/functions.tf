# The functions, each from its entry in the catalog.

module "function" {
  source   = "./modules/function"
  for_each = local.functions

  name        = each.key
  project_id  = var.project_id
  location    = local.region
  capability  = each.value.capability
  entry_point = each.value.entry_point

  bundle = {
    bucket = google_storage_bucket.bundles.name
    object = var.bundles[each.value.capability]
  }
  build = {
    service_account = google_service_account.builder.name
    repository      = google_artifact_registry_repository.functions.id
    kms_key         = module.cmek_key["artifacts"].id
  }

  service_account = google_service_account.function[each.key].email
  environment     = local.environments[each.key]
  secrets         = { for name in each.value.secrets : upper(replace(name, "-", "_")) => google_secret_manager_secret.this[name].secret_id }
  concurrency     = each.value.concurrency
  memory_mb       = each.value.memory_mb
  timeout_seconds = each.value.timeout
  min_instances   = each.value.min
  max_instances   = each.value.max
  public          = each.value.kind == "routes"

  # Into the network for the database and for the relay, which takes calls from the network only.
  network = each.value.role != null || each.value.fixed_egress ? {
    network     = google_compute_network.this.name
    subnetwork  = google_compute_subnetwork.functions.name
    all_traffic = each.value.fixed_egress
  } : null

  invokers = merge(
    { for label, email in local.callers_of[each.key] : label => "serviceAccount:${email}" },
    each.value.kind == "routes" ? { everybody = "allUsers" } : {},
  )

  depends_on = [
    google_project_iam_member.builder,
    google_project_iam_member.builder_sources,
    google_project_iam_member.function_agents,
    google_artifact_registry_repository_iam_member.builder,
    google_storage_bucket_iam_member.builder,
    google_service_networking_connection.private_services,
    # Cloud Run reads a secret once while it deploys the function, and refuses one that it may not read.
    google_secret_manager_secret_iam_member.reader,
  ]
}

# A function that keeps documents writes Firestore's one database.
resource "google_project_iam_member" "documents" {
  for_each = toset([for name, f in local.functions : name if f.documents])

  project = var.project_id
  role    = "roles/datastore.user"
  member  = google_service_account.function[each.key].member

  condition {
    title      = "default-database"
    expression = "resource.name.startsWith(\"projects/${var.project_id}/databases/(default)\")"
  }
}
