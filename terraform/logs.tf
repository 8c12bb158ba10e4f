# Logs stay in India: a bucket for the system's, one for audit logs, and nothing in _Default, which is global.

locals {
  log_buckets = {
    system = { days = var.log_retention_days, filter = "NOT logName:\"cloudaudit.googleapis.com\"" }
    audit  = { days = var.audit_log_retention_days, filter = "logName:\"cloudaudit.googleapis.com\"" }
  }

  # Metrics that are counted from log entries: name -> the event, and a further condition.
  counted_logs = {
    webhook_attempts           = "jsonPayload.message=\"webhook_attempted\""
    webhook_failures           = "jsonPayload.message=\"webhook_attempted\" AND NOT (jsonPayload.status_code>=200 AND jsonPayload.status_code<300)"
    outbox_publish_failures    = "jsonPayload.message=\"outbox_publish_failed\""
    tasks_given_up             = "jsonPayload.message=\"task_given_up\" OR jsonPayload.message=\"task_unreadable\""
    consent_dispatches_overdue = "jsonPayload.message=\"consent_dispatches_overdue\""
  }
}

resource "google_logging_project_bucket_config" "this" {
  for_each = local.log_buckets

  project        = var.project_id
  bucket_id      = "kapas-${each.key}"
  location       = local.region
  retention_days = each.value.days

  cmek_settings {
    kms_key_name = module.cmek_key["logging"].id
  }
}

# A sink into a bucket of the same project needs no grant.
resource "google_logging_project_sink" "this" {
  for_each = local.log_buckets

  name                   = "kapas-${each.key}"
  destination            = "logging.googleapis.com/${google_logging_project_bucket_config.this[each.key].id}"
  filter                 = each.value.filter
  unique_writer_identity = true
}

# Applies to the sink _Default.
resource "google_logging_project_exclusion" "default" {
  name        = "kept-in-india"
  description = "Everything is in the buckets kapas-system and kapas-audit"
  filter      = "severity>=DEFAULT"

  depends_on = [google_logging_project_sink.this]
}

resource "google_logging_metric" "counted" {
  for_each = local.counted_logs

  name   = "kapas/${each.key}"
  filter = "resource.type=\"cloud_run_revision\" AND (${each.value})"

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
  }

  depends_on = [google_project_service.this]
}
