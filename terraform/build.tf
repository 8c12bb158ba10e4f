# How code gets here: who builds functions, who deploys, who migrates the database, where images and workers are.

resource "google_artifact_registry_repository" "functions" {
  repository_id = "functions"
  location      = local.region
  format        = "DOCKER"
  description   = "Images of the functions"
  kms_key_name  = module.cmek_key["artifacts"].id

  cleanup_policies {
    id     = "keep-newest"
    action = "KEEP"
    most_recent_versions {
      keep_count = 10
    }
  }

  cleanup_policies {
    id     = "delete-old"
    action = "DELETE"
    condition {
      older_than = "2592000s"
    }
  }
}

# In the network, so that a migration reaches the database's private address.
resource "google_cloudbuild_worker_pool" "this" {
  name     = "kapas"
  location = local.region

  worker_config {
    disk_size_gb   = 100
    machine_type   = "e2-standard-2"
    no_external_ip = false
  }

  network_config {
    peered_network = google_compute_network.this.id
  }

  depends_on = [google_service_networking_connection.private_services]
}

resource "google_service_account" "builder" {
  account_id   = "function-builder"
  display_name = "Builds the images of functions"
}

resource "google_service_account" "migrator" {
  account_id   = "database-migrator"
  display_name = "Applies migrations to the database"
}

# The builder writes the logs of its builds.
resource "google_project_iam_member" "builder" {
  project = var.project_id
  role    = "roles/logging.logWriter"
  member  = google_service_account.builder.member
}

# The builder pushes the images it builds.
resource "google_artifact_registry_repository_iam_member" "builder" {
  location   = local.region
  repository = google_artifact_registry_repository.functions.name
  role       = "roles/artifactregistry.writer"
  member     = google_service_account.builder.member
}

# The builder reads the bundles it builds from.
resource "google_storage_bucket_iam_member" "builder" {
  bucket = google_storage_bucket.bundles.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.builder.member
}

# The builder reads Google's copy of a bundle, in a bucket that the first deployment makes.
resource "google_project_iam_member" "builder_sources" {
  project = var.project_id
  role    = "roles/storage.objectViewer"
  member  = google_service_account.builder.member

  condition {
    title      = "sources-of-functions"
    expression = "resource.name.startsWith(\"projects/_/buckets/gcf-v2-sources-${data.google_project.this.number}-${local.region}\")"
  }
}

# The migrator writes the logs of its builds.
resource "google_project_iam_member" "migrator_logs" {
  project = var.project_id
  role    = "roles/logging.logWriter"
  member  = google_service_account.migrator.member
}

# The migrator reads the migrations it applies, which a build puts beside the bundles.
resource "google_storage_bucket_iam_member" "migrator" {
  bucket = google_storage_bucket.bundles.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.migrator.member
}
