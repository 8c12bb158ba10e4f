"""Exports and erasures: partners take their data with them, or have it erased."""

from .events import privacy_intake
from .routes import data_export
from .scheduled import export_watchdog
from .tasks import erasure_work, export_work

__all__ = ["data_export", "erasure_work", "export_watchdog", "export_work", "privacy_intake"]
