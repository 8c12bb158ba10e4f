terraform {
  required_version = ">= 1.9, < 2.0"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 8.7"
    }
    # Only for google_project_service_identity, which the google provider does not have.
    google-beta = {
      source  = "hashicorp/google-beta"
      version = "~> 8.7"
    }
  }

  # Bucket and prefix: envs/<environment>.gcs.tfbackend
  backend "gcs" {}
}

provider "google" {
  project = var.project_id
  region  = local.region

  # Budgets and organisation policies are billed to a project only when told so.
  billing_project       = var.project_id
  user_project_override = true
  default_labels        = local.labels
}

provider "google-beta" {
  project = var.project_id
  region  = local.region
}

data "google_project" "this" {
  project_id = var.project_id
}
