"""Gradings: cotton is graded from figures, classing records and photographs."""

from .routes import grading_requests
from .scheduled import grading_reaper
from .tasks import grading_task

__all__ = ["grading_reaper", "grading_requests", "grading_task"]
