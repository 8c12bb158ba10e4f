"""Terraform, proven offline: a stand-in for Google's providers with the real schema, and what runs against it."""
