"""Gradings: cotton is graded from figures, classing records and photographs."""

from .routes import grading_requests
from .scheduled import grading_watchdog
from .tasks import grading_task

__all__ = ["grading_requests", "grading_task", "grading_watchdog"]
