# One dashboard: is it up, is it fast, does anything pile up, what does the database do.

locals {
  # Title -> filter, aligner, reducer, field to group by.
  charts = {
    "Calls a second, by function"         = ["resource.type=\"cloud_run_revision\" AND metric.type=\"run.googleapis.com/request_count\"", "ALIGN_RATE", "REDUCE_SUM", "resource.label.service_name"]
    "Failures a second, by function"      = ["resource.type=\"cloud_run_revision\" AND metric.type=\"run.googleapis.com/request_count\" AND metric.label.response_code_class=\"5xx\"", "ALIGN_RATE", "REDUCE_SUM", "resource.label.service_name"]
    "Latency, 95th percentile"            = ["resource.type=\"cloud_run_revision\" AND metric.type=\"run.googleapis.com/request_latencies\"", "ALIGN_PERCENTILE_95", "REDUCE_MAX", "resource.label.service_name"]
    "Instances, by function"              = ["resource.type=\"cloud_run_revision\" AND metric.type=\"run.googleapis.com/container/instance_count\"", "ALIGN_MAX", "REDUCE_SUM", "resource.label.service_name"]
    "Age of the oldest event, in seconds" = ["resource.type=\"pubsub_subscription\" AND metric.type=\"pubsub.googleapis.com/subscription/oldest_unacked_message_age\"", "ALIGN_MAX", "REDUCE_MAX", "resource.label.subscription_id"]
    "Tasks in a queue"                    = ["resource.type=\"cloud_tasks_queue\" AND metric.type=\"cloudtasks.googleapis.com/queue/depth\"", "ALIGN_MAX", "REDUCE_SUM", "resource.label.queue_id"]
    "Connections to the database"         = ["resource.type=\"cloudsql_database\" AND metric.type=\"cloudsql.googleapis.com/database/postgresql/num_backends\"", "ALIGN_MAX", "REDUCE_SUM", "resource.label.database_id"]
    "CPU of the database"                 = ["resource.type=\"cloudsql_database\" AND metric.type=\"cloudsql.googleapis.com/database/cpu/utilization\"", "ALIGN_MEAN", "REDUCE_MEAN", "resource.label.database_id"]
  }
}

resource "google_monitoring_dashboard" "kapas" {
  dashboard_json = jsonencode({
    displayName = "Kapas"
    gridLayout = {
      columns = "2"
      widgets = [for title, chart in local.charts : {
        title = title
        xyChart = {
          dataSets = [{
            plotType = "LINE"
            timeSeriesQuery = {
              timeSeriesFilter = {
                filter = chart[0]
                aggregation = {
                  alignmentPeriod    = "60s"
                  perSeriesAligner   = chart[1]
                  crossSeriesReducer = chart[2]
                  groupByFields      = [chart[3]]
                }
              }
            }
          }]
        }
      }]
    }
  })

  depends_on = [google_project_service.this]
}
