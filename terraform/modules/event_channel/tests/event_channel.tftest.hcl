variables {
  topic        = "trade-events"
  regions      = ["asia-south1"]
  kms_key      = null
  pubsub_agent = "serviceAccount:service-1@gcp-sa-pubsub.iam.gserviceaccount.com"
  publisher    = "group:relay@example.com"
  operators    = "group:operators@example.com"
  push = {
    live-feed = {
      url             = "https://live-feed.example.com/"
      audience        = "https://live-feed.example.com"
      account         = "pubsub-push@kapas-test.iam.gserviceaccount.com"
      timeout_seconds = 30
    }
    quick = {
      url             = "https://quick.example.com/"
      audience        = "https://quick.example.com"
      account         = "pubsub-push@kapas-test.iam.gserviceaccount.com"
      timeout_seconds = 5
    }
  }
}

run "each_push_has_a_dead_letter_subscription" {
  assert {
    condition = alltrue([
      for name, push in google_pubsub_subscription.push :
      push.dead_letter_policy[0].dead_letter_topic == google_pubsub_subscription.dead_letter[name].topic
    ])
    error_message = "What cannot be delivered is kept where it can be read."
  }
  assert {
    condition     = join(" ", output.dead_letter_subscriptions) == "live-feed.trade-events.dead-letter quick.trade-events.dead-letter"
    error_message = "The dead-letter subscriptions are named by function and topic."
  }
}

run "waits_for_the_function" {
  command = plan

  assert {
    condition     = google_pubsub_subscription.push["live-feed"].ack_deadline_seconds == 30
    error_message = "The deadline is the function's time."
  }
  assert {
    condition     = google_pubsub_subscription.push["quick"].ack_deadline_seconds == 10
    error_message = "The deadline is at least the ten seconds that Pub/Sub asks for."
  }
}

run "refuses_a_function_that_takes_longer_than_a_push_may" {
  command         = plan
  expect_failures = [var.push]

  variables {
    push = {
      slow = { url = "https://slow.example.com/", audience = "https://slow.example.com", account = "a", timeout_seconds = 900 }
    }
  }
}
