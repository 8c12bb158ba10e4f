# What clients reach: a regional external Application Load Balancer in India, with Cloud Armor before the functions.
# (API Gateway is not offered in an Indian region, and a global load balancer ends TLS abroad.)

locals {
  public = { for name, f in local.functions : name => f if f.kind == "routes" }
}

resource "google_compute_address" "edge" {
  name         = "edge"
  region       = local.region
  address_type = "EXTERNAL"
  # A regional external Application Load Balancer takes both tiers; premium keeps clients' traffic on Google's network.
  network_tier = "PREMIUM"

  depends_on = [google_project_service.this]
}

resource "google_certificate_manager_dns_authorization" "this" {
  name     = "kapas"
  location = local.region
  domain   = var.domain
  type     = "PER_PROJECT_RECORD" # the only type for regional certificates

  depends_on = [google_project_service.this]
}

resource "google_certificate_manager_certificate" "this" {
  name     = "kapas"
  location = local.region

  managed {
    domains            = [var.domain]
    dns_authorizations = [google_certificate_manager_dns_authorization.this.id]
  }
}

resource "google_compute_region_network_endpoint_group" "function" {
  for_each = local.public

  name                  = each.key
  region                = local.region
  network_endpoint_type = "SERVERLESS"

  cloud_run {
    service = module.function[each.key].name
  }
}

resource "google_compute_region_backend_service" "function" {
  for_each = local.public

  name                  = each.key
  region                = local.region
  load_balancing_scheme = "EXTERNAL_MANAGED"
  protocol              = "HTTPS"
  security_policy       = google_compute_region_security_policy.edge.self_link

  backend {
    group           = google_compute_region_network_endpoint_group.function[each.key].id
    balancing_mode  = "UTILIZATION"
    capacity_scaler = 1
  }

  log_config {
    enable      = true
    sample_rate = 1
  }
}

resource "google_compute_region_url_map" "this" {
  name   = "kapas"
  region = local.region
  # Any function answers a path that is nobody's with problem+json.
  default_service = google_compute_region_backend_service.function[sort(keys(local.public))[0]].id

  host_rule {
    hosts        = [var.domain]
    path_matcher = "routes"
  }

  path_matcher {
    name            = "routes"
    default_service = google_compute_region_backend_service.function[sort(keys(local.public))[0]].id

    dynamic "path_rule" {
      for_each = local.public

      content {
        paths   = flatten([for route in path_rule.value.routes : [route, "${route}/*"]])
        service = google_compute_region_backend_service.function[path_rule.key].id
      }
    }
  }
}

resource "google_compute_region_ssl_policy" "this" {
  name            = "kapas"
  region          = local.region
  profile         = "RESTRICTED"
  min_tls_version = "TLS_1_2"

  depends_on = [google_project_service.this]
}

resource "google_compute_region_target_https_proxy" "this" {
  name                             = "kapas"
  region                           = local.region
  url_map                          = google_compute_region_url_map.this.id
  certificate_manager_certificates = [google_certificate_manager_certificate.this.id]
  ssl_policy                       = google_compute_region_ssl_policy.this.id
}

resource "google_compute_forwarding_rule" "https" {
  name                  = "https"
  region                = local.region
  load_balancing_scheme = "EXTERNAL_MANAGED"
  network               = google_compute_network.this.id
  network_tier          = google_compute_address.edge.network_tier
  ip_address            = google_compute_address.edge.id
  port_range            = "443"
  target                = google_compute_region_target_https_proxy.this.id

  depends_on = [google_compute_subnetwork.proxies]
}

resource "google_compute_region_security_policy" "edge" {
  name   = "edge"
  region = local.region
  type   = "CLOUD_ARMOR"

  # Bodies are JSON; without this the rules read them as text and see quotes as attacks.
  advanced_options_config {
    json_parsing = "STANDARD"
  }

  dynamic "rules" {
    # OWASP's core rule set 3.3. Sensitivity 1 is what does not stop honest requests.
    for_each = {
      1000 = "sqli-v33-stable"
      1010 = "xss-v33-stable"
      1020 = "lfi-v33-stable"
      1030 = "rce-v33-stable"
      1040 = "protocolattack-v33-stable"
    }

    content {
      priority    = tonumber(rules.key)
      action      = "deny(403)"
      description = rules.value

      match {
        expr {
          expression = "evaluatePreconfiguredWaf('${rules.value}', {'sensitivity': 1})"
        }
      }
    }
  }

  rules {
    priority    = 2000
    action      = "throttle"
    description = "One address at most ${var.requests_per_minute} requests a minute"

    match {
      versioned_expr = "SRC_IPS_V1"
      config {
        src_ip_ranges = ["*"]
      }
    }

    rate_limit_options {
      conform_action = "allow"
      exceed_action  = "deny(429)"
      enforce_on_key = "IP"

      rate_limit_threshold {
        count        = var.requests_per_minute
        interval_sec = 60
      }
    }
  }

  rules {
    priority    = 2147483647
    action      = "allow"
    description = "The rest"

    match {
      versioned_expr = "SRC_IPS_V1"
      config {
        src_ip_ranges = ["*"]
      }
    }
  }

  depends_on = [google_project_service.this]
}
