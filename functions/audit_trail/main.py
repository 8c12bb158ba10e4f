"""The audit trail: one row per event and per access to personal data."""

from .events import audit_trail

__all__ = ["audit_trail"]
