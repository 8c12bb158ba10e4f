output "dead_letter_subscriptions" {
  description = "Where the messages are that could not be delivered."
  value       = sort([for subscription in google_pubsub_subscription.dead_letter : subscription.name])
}
