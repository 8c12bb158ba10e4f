# Firestore: what clients listen to. Built again from the database if it has to be; the rules keep partners apart.

locals {
  # Collection -> the fields that clients' queries filter by, newest first: a client asks for its partner's own documents,
  # or for those that are open to every partner.
  collections = {
    partners = { contains = ["partner_ids"], equals = [] }
    trades   = { contains = ["partner_ids"], equals = ["open"] }
  }
  document_queries = merge([
    for collection, by in local.collections : merge(
      { for field in by.contains : "${collection}.${field}" => { collection = collection, field = field, contains = true } },
      { for field in by.equals : "${collection}.${field}" => { collection = collection, field = field, contains = false } },
    )
  ]...)
}

resource "google_firestore_database" "this" {
  name                              = "(default)"
  location_id                       = local.region
  type                              = "FIRESTORE_NATIVE"
  concurrency_mode                  = "OPTIMISTIC"
  point_in_time_recovery_enablement = "POINT_IN_TIME_RECOVERY_ENABLED"
  delete_protection_state           = var.protect_data ? "DELETE_PROTECTION_ENABLED" : "DELETE_PROTECTION_DISABLED"
  deletion_policy                   = "DELETE"

  cmek_config {
    kms_key_name = module.cmek_key["firestore"].id
  }
}

resource "google_firestore_index" "newest_first" {
  for_each = local.document_queries

  database   = google_firestore_database.this.name
  collection = each.value.collection

  fields {
    field_path   = each.value.field
    array_config = each.value.contains ? "CONTAINS" : null
    order        = each.value.contains ? null : "ASCENDING"
  }

  fields {
    field_path = "updated_at"
    order      = "DESCENDING"
  }
}

resource "google_firestore_backup_schedule" "daily" {
  database  = google_firestore_database.this.name
  retention = "604800s"

  daily_recurrence {}
}

resource "google_firebaserules_ruleset" "this" {
  source {
    files {
      name    = "firestore.rules"
      content = file("${path.module}/../functions/live_feed/firestore.rules")
    }
  }

  depends_on = [google_firestore_database.this]

  lifecycle {
    # A ruleset cannot be deleted while it is released.
    create_before_destroy = true
  }
}

resource "google_firebaserules_release" "this" {
  name         = "cloud.firestore"
  ruleset_name = google_firebaserules_ruleset.this.name
}
