# Topics, and the push subscriptions of the functions they trigger. Push, and not Eventarc: its subscriptions take no
# dead-letter topic of ours.

module "event_channel" {
  source   = "./modules/event_channel"
  for_each = toset(local.catalog.topics)

  topic        = each.key
  regions      = [local.region]
  kms_key      = module.cmek_key["pubsub"].id
  pubsub_agent = local.agents["pubsub"]
  publisher    = google_service_account.function[local.relay].member
  operators    = var.operators

  push = {
    for name, f in local.functions : name => {
      url             = "${local.urls[name]}/"
      audience        = local.urls[name]
      account         = google_service_account.caller["topics"].email
      timeout_seconds = f.timeout
    } if contains(f.topics, each.key)
  }

  # A push to a function that is not there, or that its account may not call yet, would count as a failed delivery.
  depends_on = [module.function, google_service_account_iam_member.caller_tokens]
}
