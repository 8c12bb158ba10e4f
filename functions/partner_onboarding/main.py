"""Partner onboarding: partners register, are checked, and may then trade."""

from .events import partner_submissions
from .routes import partner_onboarding
from .scheduled import partner_watchdog
from .tasks import partner_check

__all__ = ["partner_check", "partner_onboarding", "partner_submissions", "partner_watchdog"]
