# Who is who. Each function runs as an account of its own; what calls functions has one account a kind of trigger.

resource "google_service_account" "function" {
  for_each = local.functions

  account_id   = each.key
  display_name = "Function ${each.key}"
}

locals {
  # Trigger kind -> the account, and the service agent that makes its tokens.
  callers = {
    topics   = { account = "pubsub-push", agent = "pubsub" }
    queue    = { account = "cloud-tasks", agent = "cloudtasks" }
    schedule = { account = "cloud-scheduler", agent = "cloudscheduler" }
  }

  # Function -> who may call it: label -> account. The load balancer passes on what anybody sends, so routes are public.
  callers_of = {
    for name, f in local.functions : name => merge(
      f.kind == "routes" ? {} : { (local.callers[f.kind].account) = google_service_account.caller[f.kind].email },
      f.woken ? { for publisher in local.publishers : publisher => google_service_account.function[publisher].email } : {},
    )
  }
}

resource "google_service_account" "caller" {
  for_each = local.callers

  account_id   = each.value.account
  display_name = "Calls functions by ${each.key}"
}

# The service signs its calls with tokens of the calling account, and of no other account.
resource "google_service_account_iam_member" "caller_tokens" {
  for_each = local.callers

  service_account_id = google_service_account.caller[each.key].name
  role               = "roles/iam.serviceAccountOpenIdTokenCreator"
  member             = local.agents[each.value.agent]

  depends_on = [terraform_data.agents_known]
}

# Who creates a task that carries a token of the calling account must be allowed to act as it.
resource "google_service_account_iam_member" "enqueuer_acts_as_caller" {
  for_each = toset([for name, f in local.functions : name if length(f.enqueues) > 0])

  service_account_id = google_service_account.caller["queue"].name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.function[each.key].member
}
