variable "name" {
  type = string
}

variable "key_ring" {
  type        = string
  description = "The full name of the ring."
}

variable "agents" {
  type        = map(string)
  description = "Label -> IAM member of a service agent that encrypts with the key."

  validation {
    condition     = alltrue([for member in var.agents : startswith(member, "serviceAccount:")])
    error_message = "Only service agents use a key of this kind."
  }
}

variable "wait_seconds" {
  type        = number
  description = "How long a grant needs before the services know of it."
}

variable "protect" {
  type        = bool
  description = "Whether Terraform refuses to destroy the key."
}
