"""The outbox relay: the one publisher of events."""

from .scheduled import outbox_relay

__all__ = ["outbox_relay"]
