"""Consents: what partners allow their data to be used for, in a ledger that cannot fork."""

from .routes import consent_updates
from .scheduled import consent_watchdog

__all__ = ["consent_updates", "consent_watchdog"]
