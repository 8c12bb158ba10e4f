variable "name" {
  type        = string
  description = "The function's name in the catalog, and its Cloud Run service's."
}

variable "project_id" {
  type = string
}

variable "location" {
  type = string
}

variable "capability" {
  type        = string
  description = "The folder under functions/."
}

variable "entry_point" {
  type        = string
  description = "The function in its main.py."
}

variable "bundle" {
  type        = object({ bucket = string, object = string })
  description = "Where the zip of its source is."
}

variable "build" {
  type        = object({ service_account = string, repository = string, kms_key = string })
  description = "Who builds it, where its image goes, and the key that encrypts source and image."
}

variable "service_account" {
  type        = string
  description = "The email of the account it runs as."
}

variable "environment" {
  type = map(string)
}

variable "secrets" {
  type        = map(string)
  description = "Environment variable -> the secret whose newest version it holds when an instance starts."
  default     = {}
}

variable "concurrency" {
  type        = number
  description = "Requests at once in an instance."
}

variable "memory_mb" {
  type = number
}

variable "timeout_seconds" {
  type = number
}

variable "min_instances" {
  type = number
}

variable "max_instances" {
  type = number

  validation {
    condition     = var.max_instances >= var.min_instances
    error_message = "max_instances is below min_instances."
  }
}

variable "public" {
  type        = bool
  description = "Whether the load balancer reaches it. Otherwise it takes calls from within the project only."
}

variable "network" {
  type        = object({ network = string, subnetwork = string, all_traffic = bool })
  description = "The network its private traffic goes to, or all its traffic; null for none."
  default     = null
}

variable "invokers" {
  type        = map(string)
  description = "Label -> IAM member that may call it."

  validation {
    condition     = var.public || !contains(values(var.invokers), "allUsers")
    error_message = "Only a function behind the load balancer may be called by everybody."
  }
}
