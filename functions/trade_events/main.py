"""Trades: from the offer to the settlement."""

from .events import trade_quality, trade_scheduler, trade_standing
from .routes import trade_events
from .scheduled import trade_watchdog
from .tasks import trade_deadline

__all__ = [
    "trade_deadline",
    "trade_events",
    "trade_quality",
    "trade_scheduler",
    "trade_standing",
    "trade_watchdog",
]
