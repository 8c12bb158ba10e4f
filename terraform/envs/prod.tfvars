project_id      = "kapas-prod"
environment     = "prod"
domain          = "api.kapas.example.com"
operators       = "group:kapas-operators@example.com"
alert_email     = "kapas-operators@example.com"
billing_account = "000000-000000-000000"

monthly_budget_inr    = 20000
database_tier         = "db-custom-1-3840"
database_availability = "ZONAL"
database_backups      = 10 # days; what was erased is gone from them by then

# Merges deploy. Left out until the repository is connected to Cloud Build.
repository = { owner = "kapas-example", name = "kapas" }

# The providers that partners are checked with.
settings = {
  partner-check = {
    GST_REGISTRY_URL      = "https://gst-registry.example.com"
    BANK_VERIFICATION_URL = "https://bank-verification.example.com"
    SCREENING_URL         = "https://screening.example.com"
  }
}
