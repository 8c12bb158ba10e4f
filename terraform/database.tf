# Cloud SQL for PostgreSQL: private address, login by IAM, backups in India's other region.

locals {
  database_name = "kapas"

  # Also the instance of a restore, before it takes over and when it has: no grant changes then.
  is_the_database = "resource.name.startsWith(\"projects/${var.project_id}/instances/kapas\") && resource.service == \"sqladmin.googleapis.com\""

  # An instance that was restored is there before Terraform knows of it.
  restored = var.database_instance == "kapas" ? toset([]) : toset([var.database_instance])

  # Function -> its database user: Cloud SQL's name of an account is its email without the last suffix.
  database_users = {
    for name, f in local.functions : name => trimsuffix(google_service_account.function[name].email, ".gserviceaccount.com")
    if f.role != null
  }
  connections = sum([for f in local.functions : f.pool * f.max])
}

resource "google_sql_database_instance" "this" {
  name                = var.database_instance
  region              = local.region
  database_version    = "POSTGRES_18"
  encryption_key_name = module.cmek_key["sql"].id
  deletion_protection = var.protect_data

  settings {
    edition               = "ENTERPRISE"
    tier                  = var.database_tier
    availability_type     = var.database_availability
    disk_type             = "PD_SSD"
    disk_size             = 10
    disk_autoresize       = true
    disk_autoresize_limit = 100
    # Functions open connections themselves, to the private address; connectors work as well.
    connector_enforcement       = "NOT_REQUIRED"
    deletion_protection_enabled = var.protect_data
    # Until each has reached its age. Without it a deleted instance takes its backups with it.
    retain_backups_on_delete = true

    ip_configuration {
      ipv4_enabled    = false
      private_network = google_compute_network.this.id
      # Who connects is shown by an IAM token, not by a client's certificate.
      ssl_mode = "ENCRYPTED_ONLY"
      # A CA that signs this instance's certificate and no other: functions verify the server by it alone.
      server_ca_mode = "GOOGLE_MANAGED_INTERNAL_CA"
    }

    backup_configuration {
      enabled                        = true
      location                       = var.backup_region
      start_time                     = "20:30" # UTC: two in the night in India
      point_in_time_recovery_enabled = true
      transaction_log_retention_days = 7

      backup_retention_settings {
        retained_backups = var.database_backups
      }
    }

    maintenance_window {
      day          = 7
      hour         = 21 # UTC: half past two on Monday morning in India
      update_track = "stable"
    }

    # Statements without their parameters, and no addresses.
    insights_config {
      query_insights_enabled  = true
      record_client_address   = false
      record_application_tags = false
    }

    dynamic "database_flags" {
      for_each = {
        "cloudsql.iam_authentication" = "on"
        "max_connections"             = tostring(local.catalog.database.max_connections)
        "log_checkpoints"             = "on"
        "log_connections"             = "on"
        "log_disconnections"          = "on"
        "log_lock_waits"              = "on"
        "log_min_duration_statement"  = "1000"
        "log_parameter_max_length"    = "0" # parameters are rows, and rows are personal data
        "log_statement"               = "ddl"
      }

      content {
        name  = database_flags.key
        value = database_flags.value
      }
    }
  }

  lifecycle {
    # Grown by itself; Terraform would shrink it, which means making it anew.
    ignore_changes = [settings[0].disk_size]

    precondition {
      condition     = local.connections + local.catalog.database.reserved <= local.catalog.database.max_connections
      error_message = "The functions may open ${local.connections} connections, ${local.catalog.database.reserved} are reserved: more than max_connections."
    }
  }

  depends_on = [google_service_networking_connection.private_services]
}

# Every CA that the server may be signed by: two while one replaces the other (docs/operations/README.md).
data "google_sql_ca_certs" "this" {
  # The name is known before the instance exists, its connection name is not: it is read after.
  instance = regex("[^:]+$", google_sql_database_instance.this.connection_name)
}

resource "google_sql_database" "this" {
  name            = local.database_name
  instance        = google_sql_database_instance.this.name
  deletion_policy = var.protect_data ? "PREVENT" : "DELETE"
}

# The migrations have made the roles by the time these are made: terraform/README.md has the order of a first apply.
resource "google_sql_user" "function" {
  for_each = local.database_users

  name           = each.value
  instance       = google_sql_database_instance.this.name
  type           = "CLOUD_IAM_SERVICE_ACCOUNT"
  database_roles = [local.functions[each.key].role]
}

resource "google_sql_user" "migrator" {
  name           = trimsuffix(google_service_account.migrator.email, ".gserviceaccount.com")
  instance       = google_sql_database_instance.this.name
  type           = "CLOUD_IAM_SERVICE_ACCOUNT"
  database_roles = ["cloudsqlsuperuser"]
}

# A function with a database role logs in to the instance as its database user.
resource "google_project_iam_member" "database" {
  for_each = local.database_users

  project = var.project_id
  role    = "roles/cloudsql.instanceUser"
  member  = google_service_account.function[each.key].member

  condition {
    title      = "kapas-instances"
    expression = local.is_the_database
  }
}

# The migrator applies the SQL migrations, as its own database user and through the proxy, which needs the role client.
resource "google_project_iam_member" "migrator" {
  for_each = toset(["roles/cloudsql.client", "roles/cloudsql.instanceUser"])

  project = var.project_id
  role    = each.key
  member  = google_service_account.migrator.member

  condition {
    title      = "kapas-instances"
    expression = local.is_the_database
  }
}

import {
  for_each = local.restored
  to       = google_sql_database_instance.this
  id       = each.key
}

import {
  for_each = local.restored
  to       = google_sql_database.this
  id       = "${each.key}/${local.database_name}"
}

import {
  for_each = { for name, user in local.database_users : name => user if length(local.restored) > 0 }
  to       = google_sql_user.function[each.key]
  id       = "${var.project_id}/${var.database_instance}/${each.value}"
}

import {
  for_each = local.restored
  to       = google_sql_user.migrator
  id       = "${var.project_id}/${each.key}/${trimsuffix(google_service_account.migrator.email, ".gserviceaccount.com")}"
}
