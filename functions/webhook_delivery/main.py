"""Webhooks: partners register endpoints, and events reach them signed."""

from .events import webhook_fan_out
from .routes import webhook_endpoints
from .scheduled import webhook_watchdog
from .tasks import webhook_attempt

__all__ = ["webhook_attempt", "webhook_endpoints", "webhook_fan_out", "webhook_watchdog"]
