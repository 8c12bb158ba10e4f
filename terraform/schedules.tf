# Jobs of Cloud Scheduler, one a function with a schedule.

locals {
  scheduled = { for name, f in local.functions : name => f if f.schedule != null }
}

resource "google_cloud_scheduler_job" "this" {
  for_each = local.scheduled

  name             = each.key
  region           = local.region
  schedule         = each.value.schedule
  time_zone        = "Asia/Kolkata"
  attempt_deadline = "${each.value.timeout}s"

  # What comes again within minutes needs no second attempt.
  retry_config {
    retry_count          = startswith(each.value.schedule, "*") ? 0 : 5
    min_backoff_duration = "30s"
    max_backoff_duration = "600s"
  }

  http_target {
    uri         = "${local.urls[each.key]}/"
    http_method = "POST"

    oidc_token {
      service_account_email = google_service_account.caller["schedule"].email
      audience              = local.urls[each.key]
    }
  }

  depends_on = [module.function, google_service_account_iam_member.caller_tokens]
}
