output "address" {
  description = "What the domain's A record is to say."
  value       = google_compute_address.edge.address
}

output "certificate_record" {
  description = "The CNAME record that proves the domain is ours."
  value       = google_certificate_manager_dns_authorization.this.dns_resource_record
}

output "webhook_address" {
  description = "The address that webhooks come from, for partners who allow by address."
  value       = google_compute_address.egress.address
}

output "bundle_bucket" {
  description = "Where `make bundle`'s zips are uploaded to."
  value       = google_storage_bucket.bundles.name
}

output "database_instance" {
  description = "What the Cloud SQL Auth Proxy connects to."
  value       = google_sql_database_instance.this.connection_name
}

output "migrator" {
  description = "The database user that migrations run as."
  value       = google_sql_user.migrator.name
}

output "dead_letter_subscriptions" {
  description = "Where the events are that could not be delivered."
  value       = flatten([for channel in module.event_channel : channel.dead_letter_subscriptions])
}
