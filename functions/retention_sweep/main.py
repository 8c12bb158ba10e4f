"""Retention: records are deleted when the law that keeps them has let go, unless they are held."""

from .routes import retention_sweep
from .scheduled import retention_nightly
from .tasks import retention_batch

__all__ = ["retention_batch", "retention_nightly", "retention_sweep"]
