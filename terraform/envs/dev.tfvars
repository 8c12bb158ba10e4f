# A smaller system for trying things out. It may be destroyed.
project_id      = "kapas-dev"
environment     = "dev"
domain          = "api.dev.kapas.example.com"
operators       = "group:kapas-developers@example.com"
alert_email     = "kapas-developers@example.com"
billing_account = "000000-000000-000000"

monthly_budget_inr = 10000
database_tier      = "db-g1-small"
database_backups   = 7
protect_data       = false

# Nothing is kept warm.
min_instances = {
  trade-events = 0
  outbox-relay = 0
}

# The providers that partners are checked with.
settings = {
  partner-check = {
    GST_REGISTRY_URL      = "https://gst-registry.sandbox.example.com"
    BANK_VERIFICATION_URL = "https://bank-verification.sandbox.example.com"
    SCREENING_URL         = "https://screening.sandbox.example.com"
  }
}
