# Queues of Cloud Tasks. A task is named by who creates it, and carries a token of the calling account.

resource "google_cloud_tasks_queue" "this" {
  for_each = local.catalog.queues

  name     = each.key
  location = local.region

  rate_limits {
    max_dispatches_per_second = each.value.max_dispatches_per_second
    max_concurrent_dispatches = each.value.max_concurrent_dispatches
  }

  retry_config {
    max_attempts = each.value.max_attempts
    min_backoff  = "${each.value.min_backoff_seconds}s"
    max_backoff  = "${each.value.max_backoff_seconds}s"
  }

  stackdriver_logging_config {
    sampling_ratio = 0.1
  }

  depends_on = [google_project_service.this, google_service_account_iam_member.caller_tokens]
}

# A function creates tasks in the queues that the catalog says it enqueues to.
resource "google_cloud_tasks_queue_iam_member" "enqueuer" {
  for_each = {
    for pair in flatten([for name, f in local.functions : [for queue in keys(f.enqueues) : { function = name, queue = queue }]]) :
    "${pair.function}.${pair.queue}" => pair
  }

  location = local.region
  name     = google_cloud_tasks_queue.this[each.value.queue].name
  role     = "roles/cloudtasks.enqueuer"
  member   = google_service_account.function[each.value.function].member
}
