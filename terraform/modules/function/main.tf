# One 2nd gen function: how it is built, what it runs as, and who may call it.

resource "google_cloudfunctions2_function" "this" {
  name         = var.name
  location     = var.location
  description  = "${var.entry_point} of ${var.capability}"
  labels       = { capability = var.capability }
  kms_key_name = var.build.kms_key

  build_config {
    runtime           = "python313"
    entry_point       = var.entry_point
    service_account   = var.build.service_account
    docker_repository = var.build.repository

    source {
      storage_source {
        bucket = var.bundle.bucket
        object = var.bundle.object
      }
    }
  }

  service_config {
    service_account_email            = var.service_account
    environment_variables            = var.environment
    available_cpu                    = "1"
    available_memory                 = "${var.memory_mb}M"
    timeout_seconds                  = var.timeout_seconds
    max_instance_request_concurrency = var.concurrency
    min_instance_count               = var.min_instances
    max_instance_count               = var.max_instances
    all_traffic_on_latest_revision   = false # a release moves the calls: tools/deliver
    ingress_settings                 = var.public ? "ALLOW_INTERNAL_AND_GCLB" : "ALLOW_INTERNAL_ONLY"
    direct_vpc_egress = (
      var.network == null ? null : var.network.all_traffic ? "VPC_EGRESS_ALL_TRAFFIC" : "VPC_EGRESS_PRIVATE_RANGES_ONLY"
    )

    dynamic "secret_environment_variables" {
      for_each = var.secrets

      content {
        key        = secret_environment_variables.key
        project_id = var.project_id
        secret     = secret_environment_variables.value
        version    = "latest"
      }
    }

    dynamic "direct_vpc_network_interface" {
      for_each = var.network == null ? [] : [var.network]

      content {
        network    = direct_vpc_network_interface.value.network
        subnetwork = direct_vpc_network_interface.value.subnetwork
      }
    }
  }
}

# What triggers a function, and nobody else, calls it: Pub/Sub push, Cloud Tasks, Cloud Scheduler, the functions that wake
# the relay; anybody for a function with public routes, which takes traffic from the load balancer only.
resource "google_cloud_run_v2_service_iam_member" "invoker" {
  for_each = var.invokers

  location = var.location
  name     = google_cloudfunctions2_function.this.name
  role     = "roles/run.invoker"
  member   = each.value

  lifecycle {
    # The grants are on the Cloud Run service, which goes and comes with the function.
    replace_triggered_by = [google_cloudfunctions2_function.this.id]
  }
}
