# Google's services, and their agents. A new project has no agents, and a grant to an agent that is not there fails:
# they are made here, and everything that names one waits until the rest of Google knows of it.

locals {
  services = toset([
    "artifactregistry.googleapis.com",
    "billingbudgets.googleapis.com",
    "certificatemanager.googleapis.com",
    "cloudbuild.googleapis.com",
    "cloudfunctions.googleapis.com",
    "cloudkms.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "cloudscheduler.googleapis.com",
    "cloudtasks.googleapis.com",
    "compute.googleapis.com",
    "dns.googleapis.com",
    "firebaserules.googleapis.com",
    "firestore.googleapis.com",
    "iam.googleapis.com",
    "iamcredentials.googleapis.com",
    "identitytoolkit.googleapis.com",
    "logging.googleapis.com",
    "monitoring.googleapis.com",
    "orgpolicy.googleapis.com",
    "pubsub.googleapis.com",
    "run.googleapis.com",
    "secretmanager.googleapis.com",
    "securetoken.googleapis.com",
    "servicenetworking.googleapis.com",
    "sqladmin.googleapis.com",
    "storage.googleapis.com",
  ])

  agent_services = toset([
    "artifactregistry.googleapis.com",
    "cloudfunctions.googleapis.com",
    "cloudscheduler.googleapis.com",
    "cloudtasks.googleapis.com",
    "firestore.googleapis.com",
    "pubsub.googleapis.com",
    "run.googleapis.com",
    "secretmanager.googleapis.com",
    "sqladmin.googleapis.com",
  ])

  agents = merge(
    { for service, agent in google_project_service_identity.this : trimsuffix(service, ".googleapis.com") => agent.member },
    {
      storage = data.google_storage_project_service_account.this.member
      logging = "serviceAccount:${data.google_logging_project_cmek_settings.this.service_account_id}"
    },
  )
}

resource "google_project_service" "this" {
  for_each = local.services

  service            = each.key
  disable_on_destroy = false
}

resource "google_project_service_identity" "this" {
  provider = google-beta
  for_each = local.agent_services

  project = var.project_id
  service = google_project_service.this[each.key].service
}

data "google_storage_project_service_account" "this" {
  project = var.project_id
}

data "google_logging_project_cmek_settings" "this" {
  project = var.project_id
}

resource "terraform_data" "agents_known" {
  triggers_replace = [for agent in google_project_service_identity.this : agent.member]

  provisioner "local-exec" {
    command = "sleep ${var.service_agent_wait_seconds}"
  }
}

# An agent made on request has no role until it is given one: it deploys functions and pulls their images.
resource "google_project_iam_member" "function_agents" {
  for_each = {
    cloudfunctions = "roles/cloudfunctions.serviceAgent"
    run            = "roles/run.serviceAgent"
  }

  project = var.project_id
  role    = each.value
  member  = local.agents[each.key]

  depends_on = [terraform_data.agents_known]
}

# An agent made on request has no role until it is given one: it logs the attempts that it makes.
resource "google_project_iam_member" "caller_agents" {
  for_each = toset(["cloudtasks", "cloudscheduler"])

  project = var.project_id
  role    = "roles/logging.logWriter"
  member  = local.agents[each.key]

  depends_on = [terraform_data.agents_known]
}
