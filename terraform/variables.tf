variable "project_id" {
  type        = string
  description = "The project that holds one environment, and nothing else."
}

variable "environment" {
  type        = string
  description = "What this environment is called: dev or prod."

  validation {
    condition     = contains(["dev", "prod"], var.environment)
    error_message = "The environment is dev or prod."
  }
}

variable "bundles" {
  type        = map(string)
  description = "Capability -> name of its zip in the bundle bucket, as `make bundle` writes it to build/bundles.tfvars.json."

  validation {
    condition     = length(setsubtract(local.capabilities, keys(var.bundles))) == 0
    error_message = "No bundle for ${join(", ", setsubtract(local.capabilities, keys(var.bundles)))}: run `make bundle`."
  }
}

variable "domain" {
  type        = string
  description = "The host name that clients call."
}

variable "operators" {
  type        = string
  description = "The group of those who run the system, as `group:name@domain`: what they may do is in operators.tf."
}

variable "alert_email" {
  type        = string
  description = "Where alerts and budget warnings go."
}

variable "billing_account" {
  type        = string
  description = "The billing account the project is billed to."
}

variable "monthly_budget_inr" {
  type        = number
  description = "Rupees a month, of all costs of the project."
  default     = 20000
}

variable "backup_region" {
  type        = string
  description = "Where backups of the database are kept: another region of India than the system's."
  default     = "asia-south2"

  validation {
    condition     = contains(["asia-south1", "asia-south2"], var.backup_region)
    error_message = "Data stays in India: asia-south1 or asia-south2."
  }
}

variable "database_instance" {
  type        = string
  description = "The instance that is the database: another one after a restore, as docs/operations/restore.md says."
  default     = "kapas"

  validation {
    condition     = startswith(var.database_instance, "kapas")
    error_message = "Who may connect to the database may connect to instances whose name begins with kapas."
  }
}

variable "database_tier" {
  type        = string
  description = "Machine type of the database."
  default     = "db-custom-1-3840"
}

variable "database_availability" {
  type        = string
  description = "ZONAL, or REGIONAL for a standby in a second zone at about twice the price."
  default     = "ZONAL"

  validation {
    condition     = contains(["ZONAL", "REGIONAL"], var.database_availability)
    error_message = "ZONAL or REGIONAL."
  }
}

variable "database_backups" {
  type        = number
  description = "Daily backups that are kept."
  default     = 14
}

variable "protect_data" {
  type        = bool
  description = "Whether Terraform refuses to delete what holds data: database, documents, buckets, keys."
  default     = true
}

variable "requests_per_minute" {
  type        = number
  description = "Requests a minute from one address before Cloud Armor answers 429. Limits per partner are in the functions."
  default     = 600
}

variable "settings" {
  type        = map(map(string))
  description = "Function -> what it is told besides what follows from the catalog: the addresses of third parties."
  default     = {}
}

variable "min_instances" {
  type        = map(number)
  description = "Function -> instances kept warm, where this environment differs from the catalog."
  default     = {}
}

variable "log_retention_days" {
  type        = number
  description = "Days that the logs of functions and of the load balancer are kept: 180 at least, by CERT-In's directions of 28 April 2022 (iv)."
  default     = 180

  validation {
    condition     = var.log_retention_days >= 180
    error_message = "Logs are kept for 180 days at least."
  }
}

variable "audit_log_retention_days" {
  type        = number
  description = "Days that audit logs are kept: a year at least, by rule 6(1)(e) of the Digital Personal Data Protection Rules, 2025."
  default     = 400

  validation {
    condition     = var.audit_log_retention_days >= 365
    error_message = "Audit logs are kept for a year at least."
  }
}

variable "availability_goal" {
  type        = number
  description = "Share of a capability's calls that succeed, over 28 days."
  default     = 0.995
}

variable "service_agent_wait_seconds" {
  type        = number
  description = "How long a new service agent, or a grant to one, needs before other services know of it."
  default     = 90
}

variable "repository" {
  type        = object({ owner = string, name = string })
  description = "The repository on GitHub whose main branch is deployed, once it is connected to Cloud Build; null before."
  default     = null
}
