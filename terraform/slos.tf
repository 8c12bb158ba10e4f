# What each capability promises: the share of its calls that succeed over 28 days. An alert comes when the error budget
# burns fast (2% of it in an hour) or steadily (10% in a day).

locals {
  # A capability -> the filter of its functions' calls. One that events trigger answers 503 to an event that comes before
  # its turn, which is no failure.
  calls = {
    for capability in local.capabilities : capability => join(" AND ", [
      "metric.type=\"run.googleapis.com/request_count\"",
      "resource.type=\"cloud_run_revision\"",
      "(${join(" OR ", [for name, f in local.functions : "resource.label.service_name=\"${name}\"" if f.capability == capability])})",
    ])
  }
  serves_clients = { for capability in local.capabilities : capability => anytrue([
    for f in local.functions : f.kind == "routes" if f.capability == capability
  ]) }

  burn_rates = {
    fast   = { long = "3600s", short = "300s", rate = 14.4, severity = "CRITICAL" }
    steady = { long = "86400s", short = "7200s", rate = 2.8, severity = "WARNING" }
  }
}

resource "google_monitoring_custom_service" "capability" {
  for_each = local.capabilities

  service_id   = replace(each.key, "_", "-")
  display_name = each.key

  depends_on = [google_project_service.this]
}

resource "google_monitoring_slo" "availability" {
  for_each = local.capabilities

  service             = google_monitoring_custom_service.capability[each.key].service_id
  slo_id              = "availability"
  display_name        = "${each.key}: calls that succeed"
  goal                = var.availability_goal
  rolling_period_days = 28

  request_based_sli {
    good_total_ratio {
      total_service_filter = local.calls[each.key]
      bad_service_filter = "${local.calls[each.key]} AND metric.label.response_code_class=\"5xx\"${
        local.serves_clients[each.key] ? "" : " AND metric.label.response_code!=\"503\""
      }"
    }
  }
}

resource "google_monitoring_alert_policy" "burn_rate" {
  for_each = {
    for pair in setproduct(local.capabilities, keys(local.burn_rates)) : "${pair[0]} ${pair[1]}" => { capability = pair[0], burn = pair[1] }
  }

  display_name          = "${each.value.capability}: error budget burns (${each.value.burn})"
  combiner              = "AND"
  severity              = local.burn_rates[each.value.burn].severity
  notification_channels = [google_monitoring_notification_channel.email.name]

  dynamic "conditions" {
    for_each = { long = local.burn_rates[each.value.burn].long, short = local.burn_rates[each.value.burn].short }

    content {
      display_name = "over ${conditions.value}"

      condition_threshold {
        filter          = "select_slo_burn_rate(\"${google_monitoring_slo.availability[each.value.capability].name}\", \"${conditions.value}\")"
        comparison      = "COMPARISON_GT"
        threshold_value = local.burn_rates[each.value.burn].rate
        duration        = "0s"
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "Runbook: docs/operations/alerts.md#error-budget"
  }
}
