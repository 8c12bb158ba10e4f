# What each function is told: the names that local_cloud/environment.py sets, with the values of Google Cloud.
# Addresses of Google's own services are left to the settings' defaults.

locals {
  environments = {
    for name, f in local.functions : name => merge(
      {
        FUNCTION = name
        PROJECT  = var.project_id
        REGION   = local.region
        # The framework's own default, four times the CPUs, would queue the rest of the concurrency unseen.
        THREADS = tostring(f.concurrency)
      },
      f.kind == "routes" ? {
        TOKEN_ISSUER   = local.sign_in.issuer
        TOKEN_AUDIENCE = local.sign_in.audience
        TOKEN_JWKS_URL = local.sign_in.jwks_url
        } : {
        SERVICE_AUDIENCE = local.urls[name]
        ALLOWED_CALLERS  = join(",", values(local.callers_of[name]))
      },
      f.queue == null ? {} : {
        TASK_ATTEMPTS = tostring(local.catalog.queues[f.queue].max_attempts)
      },
      f.role == null ? {} : {
        DATABASE_URL  = "postgresql://${urlencode(local.database_users[name])}@${google_sql_database_instance.this.private_ip_address}/${local.database_name}?sslmode=verify-ca"
        DATABASE_IAM  = "true"
        DATABASE_CA   = join("\n", data.google_sql_ca_certs.this.certs[*].cert)
        DATABASE_POOL = tostring(f.pool)
      },
      length(f.publishes) == 0 ? {} : {
        RELAY_URL = local.urls[local.relay]
      },
      f.encrypts ? {
        KMS_KEY = google_kms_crypto_key.personal_data.id
      } : {},
      f.signs ? {
        RECEIPT_KEY = "${google_kms_crypto_key.receipts.id}/cryptoKeyVersions/1"
      } : {},
      length(f.buckets) == 0 ? {} : merge(
        { FILE_SIGNER = google_service_account.function[name].email },
        { for bucket in f.buckets : "${upper(trimsuffix(bucket, "s"))}_BUCKET" => google_storage_bucket.files[bucket].name },
      ),
      lookup(var.settings, name, {}),
      length(f.enqueues) == 0 ? {} : {
        TASKS_CALLER = google_service_account.caller["queue"].email
        TASK_URLS    = join(",", [for target in distinct(values(f.enqueues)) : "${target}=${local.urls[target]}"])
      },
    )
  }
}
