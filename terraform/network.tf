# The network: where the database is, what functions call privately, and the one address that webhooks come from.

resource "google_compute_network" "this" {
  name                    = "kapas"
  auto_create_subnetworks = false
  routing_mode            = "REGIONAL"

  depends_on = [google_project_service.this]
}

# Direct VPC egress takes an address an instance, and up to four times as many while revisions change.
resource "google_compute_subnetwork" "functions" {
  name                     = "functions"
  region                   = local.region
  network                  = google_compute_network.this.id
  ip_cidr_range            = "10.10.0.0/22"
  private_ip_google_access = true
}

# Where the regional load balancer's proxies are.
resource "google_compute_subnetwork" "proxies" {
  name          = "load-balancer-proxies"
  region        = local.region
  network       = google_compute_network.this.id
  ip_cidr_range = "10.10.8.0/23"
  purpose       = "REGIONAL_MANAGED_PROXY"
  role          = "ACTIVE"
}

# Cloud SQL and the build workers get addresses from here.
resource "google_compute_global_address" "private_services" {
  name          = "private-services"
  purpose       = "VPC_PEERING"
  address_type  = "INTERNAL"
  network       = google_compute_network.this.id
  address       = "10.20.0.0"
  prefix_length = 16
}

resource "google_service_networking_connection" "private_services" {
  network                 = google_compute_network.this.id
  service                 = "servicenetworking.googleapis.com"
  reserved_peering_ranges = [google_compute_global_address.private_services.name]
}

# Partners may allow webhooks by this address.
resource "google_compute_address" "egress" {
  name         = "webhook-egress"
  region       = local.region
  address_type = "EXTERNAL"
  network_tier = "PREMIUM"

  depends_on = [google_project_service.this]
}

resource "google_compute_router" "this" {
  name    = "kapas"
  region  = local.region
  network = google_compute_network.this.id
}

resource "google_compute_router_nat" "egress" {
  name                               = "egress"
  region                             = local.region
  router                             = google_compute_router.this.name
  nat_ip_allocate_option             = "MANUAL_ONLY"
  nat_ips                            = [google_compute_address.egress.self_link]
  source_subnetwork_ip_ranges_to_nat = "LIST_OF_SUBNETWORKS"

  subnetwork {
    name                    = google_compute_subnetwork.functions.id
    source_ip_ranges_to_nat = ["ALL_IP_RANGES"]
  }

  log_config {
    enable = true
    filter = "ERRORS_ONLY"
  }
}

# The relay takes calls from the network only: within it, run.app is private.googleapis.com.
resource "google_dns_managed_zone" "run" {
  name        = "run-app"
  dns_name    = "run.app."
  description = "Calls between functions stay in the network"
  visibility  = "private"

  private_visibility_config {
    networks {
      network_url = google_compute_network.this.id
    }
  }

  depends_on = [google_project_service.this]
}

resource "google_dns_record_set" "run" {
  managed_zone = google_dns_managed_zone.run.name
  name         = "*.run.app."
  type         = "A"
  ttl          = 300
  rrdatas      = ["199.36.153.8", "199.36.153.9", "199.36.153.10", "199.36.153.11"]
}
