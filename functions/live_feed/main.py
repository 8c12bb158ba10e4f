"""The live feed: Firestore documents that clients listen to, projected from events."""

from .events import live_feed

__all__ = ["live_feed"]
