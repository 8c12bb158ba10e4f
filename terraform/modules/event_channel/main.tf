# One topic with a push subscription a function, and for each of those a dead-letter topic with a subscription of its own:
# a dead-letter topic without one drops what it is sent.

resource "google_pubsub_topic" "this" {
  name         = var.topic
  kms_key_name = var.kms_key

  # Replayed from here after a fault in a consumer.
  message_retention_duration = "604800s"

  message_storage_policy {
    allowed_persistence_regions = var.regions
    enforce_in_transit          = true
  }
}

# The relay publishes.
resource "google_pubsub_topic_iam_member" "publisher" {
  topic  = google_pubsub_topic.this.id
  role   = "roles/pubsub.publisher"
  member = var.publisher
}

resource "google_pubsub_subscription" "push" {
  for_each = var.push

  name                    = "${each.key}.${var.topic}"
  topic                   = google_pubsub_topic.this.id
  enable_message_ordering = true

  # Below the function's time Pub/Sub would deliver again while the function is still at it.
  ack_deadline_seconds       = max(10, each.value.timeout_seconds)
  message_retention_duration = "604800s"

  push_config {
    push_endpoint = each.value.url

    oidc_token {
      service_account_email = each.value.account
      audience              = each.value.audience
    }
  }

  retry_policy {
    minimum_backoff = "1s"
    maximum_backoff = "60s"
  }

  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.dead_letter[each.key].id
    max_delivery_attempts = 10
  }

  # Never, even if nothing is published for a month.
  expiration_policy {
    ttl = ""
  }

  depends_on = [google_pubsub_topic_iam_member.dead_letter]
}

resource "google_pubsub_topic" "dead_letter" {
  for_each = var.push

  name         = "${each.key}.${var.topic}.dead-letter"
  kms_key_name = var.kms_key

  message_storage_policy {
    allowed_persistence_regions = var.regions
    enforce_in_transit          = true
  }
}

resource "google_pubsub_subscription" "dead_letter" {
  for_each = var.push

  name                       = "${each.key}.${var.topic}.dead-letter"
  topic                      = google_pubsub_topic.dead_letter[each.key].id
  enable_message_ordering    = true
  ack_deadline_seconds       = 60
  message_retention_duration = "1209600s"

  expiration_policy {
    ttl = ""
  }
}

# Pub/Sub moves what cannot be delivered to the dead-letter topic.
resource "google_pubsub_topic_iam_member" "dead_letter" {
  for_each = var.push

  topic  = google_pubsub_topic.dead_letter[each.key].id
  role   = "roles/pubsub.publisher"
  member = var.pubsub_agent
}

# Pub/Sub acknowledges at its subscription what it has moved to the dead-letter topic.
resource "google_pubsub_subscription_iam_member" "dead_letter_source" {
  for_each = var.push

  subscription = google_pubsub_subscription.push[each.key].name
  role         = "roles/pubsub.subscriber"
  member       = var.pubsub_agent
}

# Operators read dead letters, and acknowledge them once they are dealt with.
resource "google_pubsub_subscription_iam_member" "dead_letter_reader" {
  for_each = var.push

  subscription = google_pubsub_subscription.dead_letter[each.key].name
  role         = "roles/pubsub.subscriber"
  member       = var.operators
}

# Operators publish dead letters anew once their consumer is mended.
resource "google_pubsub_topic_iam_member" "operators" {
  topic  = google_pubsub_topic.this.id
  role   = "roles/pubsub.publisher"
  member = var.operators
}

# Operators seek a subscription to a moment, after a restore.
resource "google_pubsub_subscription_iam_member" "operators" {
  for_each = var.push

  subscription = google_pubsub_subscription.push[each.key].name
  role         = "roles/pubsub.subscriber"
  member       = var.operators
}
