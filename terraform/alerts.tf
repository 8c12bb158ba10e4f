# What people are told of, each with its runbook in docs/operations/alerts.md.

resource "google_monitoring_notification_channel" "email" {
  display_name = "Kapas operators"
  type         = "email"
  labels       = { email_address = var.alert_email }

  depends_on = [google_project_service.this]
}

locals {
  # How long a scheduled function may go without a success: what runs every few minutes a quarter of an hour, what runs
  # every few hours a day, what runs once a day 25 hours, which is also the longest that Cloud Monitoring looks back.
  sweep_bound = {
    for name, f in local.scheduled : name => startswith(f.schedule, "*") ? "900s" : "90000s"
  }

  # One unacknowledged event for this long: the retries of a push have not helped.
  undelivered_bound = 600

  thresholds = merge(
    {
      dead-letters = {
        filter   = "resource.type=\"pubsub_subscription\" AND metric.type=\"pubsub.googleapis.com/subscription/num_undelivered_messages\" AND resource.label.subscription_id=ends_with(\".dead-letter\")"
        aligner  = "ALIGN_MAX", reducer = "REDUCE_MAX", group = ["resource.label.subscription_id"]
        period   = "60s", comparison = "COMPARISON_GT", bound = 0, duration = "0s"
        severity = "ERROR", missing = null, name = "Messages in a dead-letter subscription"
      }
      event-age = {
        filter   = "resource.type=\"pubsub_subscription\" AND metric.type=\"pubsub.googleapis.com/subscription/oldest_unacked_message_age\" AND NOT resource.label.subscription_id=ends_with(\".dead-letter\")"
        aligner  = "ALIGN_MAX", reducer = "REDUCE_MAX", group = ["resource.label.subscription_id"]
        period   = "60s", comparison = "COMPARISON_GT", bound = local.undelivered_bound, duration = "300s"
        severity = "ERROR", missing = null, name = "An event waits for its consumer"
      }
      outbox-age = {
        # The relay publishes everything or logs this: three minute sweeps in a row that did not are events that grow old.
        filter   = "resource.type=\"cloud_run_revision\" AND metric.type=\"logging.googleapis.com/user/${google_logging_metric.counted["outbox_publish_failures"].name}\""
        aligner  = "ALIGN_DELTA", reducer = "REDUCE_SUM", group = []
        period   = "60s", comparison = "COMPARISON_GT", bound = 0, duration = "180s"
        severity = "CRITICAL", missing = null, name = "Events stay in the outbox"
      }
      tasks-failed = {
        filter   = "resource.type=\"cloud_run_revision\" AND metric.type=\"logging.googleapis.com/user/${google_logging_metric.counted["tasks_given_up"].name}\""
        aligner  = "ALIGN_DELTA", reducer = "REDUCE_SUM", group = ["resource.label.service_name"]
        period   = "300s", comparison = "COMPARISON_GT", bound = 0, duration = "0s"
        severity = "ERROR", missing = null, name = "A task was given up"
      }
      tasks-failing = {
        # As Cloud Tasks counts them: also what never came to a function, and what a function did not live to log. A try's
        # answer is a word or an HTTP status.
        filter   = "resource.type=\"cloud_tasks_queue\" AND metric.type=\"cloudtasks.googleapis.com/queue/task_attempt_count\" AND NOT metric.label.response_code=monitoring.regex.full_match(\"(?i)ok|2[0-9]{2}\")"
        aligner  = "ALIGN_DELTA", reducer = "REDUCE_SUM", group = ["resource.label.queue_id"]
        period   = "600s", comparison = "COMPARISON_GT", bound = 0, duration = "1800s"
        severity = "WARNING", missing = null, name = "A queue's tasks fail"
      }
      dispatches-overdue = {
        # Each run that finds some says so: two of the last three did.
        filter   = "resource.type=\"cloud_run_revision\" AND metric.type=\"logging.googleapis.com/user/${google_logging_metric.counted["consent_dispatches_overdue"].name}\""
        aligner  = "ALIGN_DELTA", reducer = "REDUCE_SUM", group = []
        period   = "900s", comparison = "COMPARISON_GT", bound = 1, duration = "0s"
        severity = "WARNING", missing = null, name = "Processors were not told that a consent ended"
      }
      database-connections = {
        filter   = "resource.type=\"cloudsql_database\" AND metric.type=\"cloudsql.googleapis.com/database/postgresql/num_backends\""
        aligner  = "ALIGN_MAX", reducer = "REDUCE_SUM", group = ["resource.label.database_id"]
        period   = "60s", comparison = "COMPARISON_GT", bound = local.catalog.database.max_connections * 0.9, duration = "300s"
        severity = "WARNING", missing = null, name = "Connections to the database run out"
      }
      database-disk = {
        filter   = "resource.type=\"cloudsql_database\" AND metric.type=\"cloudsql.googleapis.com/database/disk/utilization\""
        aligner  = "ALIGN_MAX", reducer = "REDUCE_MAX", group = []
        period   = "300s", comparison = "COMPARISON_GT", bound = 0.9, duration = "900s"
        severity = "WARNING", missing = null, name = "The database's disk fills up"
      }
      uptime = {
        filter   = "resource.type=\"uptime_url\" AND metric.type=\"monitoring.googleapis.com/uptime_check/check_passed\""
        aligner  = "ALIGN_FRACTION_TRUE", reducer = "REDUCE_MEAN", group = ["metric.label.check_id"]
        period   = "300s", comparison = "COMPARISON_LT", bound = 0.5, duration = "300s"
        severity = "CRITICAL", missing = null, name = "The API cannot be reached"
      }
    },
    {
      for name, bound in local.sweep_bound : "not-run-${name}" => {
        filter   = "resource.type=\"cloud_run_revision\" AND metric.type=\"run.googleapis.com/request_count\" AND resource.label.service_name=\"${name}\" AND metric.label.response_code_class=\"2xx\""
        aligner  = "ALIGN_DELTA", reducer = "REDUCE_SUM", group = []
        period   = bound, comparison = "COMPARISON_LT", bound = 1, duration = "0s"
        severity = "ERROR", missing = "EVALUATION_MISSING_DATA_ACTIVE", name = "${name} has not run"
      }
    },
  )
}

resource "google_monitoring_alert_policy" "threshold" {
  for_each = local.thresholds

  display_name          = each.value.name
  combiner              = "OR"
  severity              = each.value.severity
  notification_channels = [google_monitoring_notification_channel.email.name]

  conditions {
    display_name = each.value.name

    condition_threshold {
      filter                  = each.value.filter
      comparison              = each.value.comparison
      threshold_value         = each.value.bound
      duration                = each.value.missing == null ? each.value.duration : "60s"
      evaluation_missing_data = each.value.missing

      aggregations {
        alignment_period     = each.value.period
        per_series_aligner   = each.value.aligner
        cross_series_reducer = each.value.reducer
        group_by_fields      = each.value.group
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "Runbook: docs/operations/alerts.md#${startswith(each.key, "not-run-") ? "not-run" : each.key}"
  }
}

# Many partners' endpoints fail at once: ours is the fault more likely than theirs.
resource "google_monitoring_alert_policy" "webhook_failures" {
  display_name          = "Webhooks fail"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = [google_monitoring_notification_channel.email.name]

  conditions {
    display_name = "More than half of the attempts fail"

    condition_threshold {
      filter             = "resource.type=\"cloud_run_revision\" AND metric.type=\"logging.googleapis.com/user/${google_logging_metric.counted["webhook_failures"].name}\""
      denominator_filter = "resource.type=\"cloud_run_revision\" AND metric.type=\"logging.googleapis.com/user/${google_logging_metric.counted["webhook_attempts"].name}\""
      comparison         = "COMPARISON_GT"
      threshold_value    = 0.5
      duration           = "900s"

      aggregations {
        alignment_period     = "300s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
      }

      denominator_aggregations {
        alignment_period     = "300s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "Runbook: docs/operations/alerts.md#webhook-failures"
  }
}

# Nobody is signed in, so 401 with problem+json is the answer of a system that works from the edge to the function.
resource "google_monitoring_uptime_check_config" "route" {
  for_each = { for name, f in local.public : name => f.routes[0] }

  display_name = "${each.key} answers"
  timeout      = "10s"
  period       = "300s"
  # Three is the least. The checks carry no data.
  selected_regions = ["ASIA_PACIFIC", "EUROPE", "USA_OREGON"]

  http_check {
    path         = each.value
    port         = 443
    use_ssl      = true
    validate_ssl = true

    accepted_response_status_codes {
      status_value = 401
    }
  }

  monitored_resource {
    type   = "uptime_url"
    labels = { project_id = var.project_id, host = var.domain }
  }

  depends_on = [google_project_service.this]
}
