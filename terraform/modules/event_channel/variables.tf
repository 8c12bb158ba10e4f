variable "topic" {
  type = string
}


variable "regions" {
  type        = list(string)
  description = "Where messages may be kept."
}

variable "kms_key" {
  type        = string
  description = "The key that encrypts messages."
}

variable "pubsub_agent" {
  type        = string
  description = "Pub/Sub's own account, as an IAM member."
}

variable "publisher" {
  type        = string
  description = "Who publishes, as an IAM member."
}

variable "operators" {
  type        = string
  description = "Who reads dead letters and publishes them anew, as an IAM member."
}

variable "push" {
  type = map(object({
    url             = string
    audience        = string
    account         = string
    timeout_seconds = number
  }))
  description = "Function -> where and as whom to push, and how long the function may take."

  validation {
    condition     = alltrue([for push in var.push : push.timeout_seconds <= 600])
    error_message = "Pub/Sub waits for a push for 600 seconds at most."
  }
}
