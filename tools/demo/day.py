"""What the acts hand on to each other."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import urllib3

from local_cloud.client import Client
from tools.demo.screen import Screen, expect

PATIENCE = 180.0
"""Seconds until time must have passed: a year has many nights."""


@dataclass(frozen=True, slots=True)
class Firm:
    """A firm of the story, and its owner's client."""

    id: UUID
    owner: Client
    body: dict[str, Any]
    """What it registers with."""

    @property
    def path(self) -> str:
        return f"/v1/partners/{self.id}"


@dataclass(frozen=True, slots=True)
class Day:
    """The screen, the system, and who is in the story."""

    screen: Screen
    client: Client
    """Nobody's, for the local cloud's own endpoints."""
    folder: Path
    """For files of the demo; it goes with it."""
    ginner: Firm
    mill: Firm
    farmer: Firm

    def staff(self, role: str) -> Client:
        """Somebody of the platform, with a token of now: `ops`, `inspector` or `dpo`."""
        return self.client.as_user(role, None, role)

    def advance(self, period: str) -> None:
        """Let time pass, an ISO 8601 duration; what falls due on the way happens. Raises `StepFailed` if it does not."""
        url = f"{self.client.url}/_local/clock"
        answer = urllib3.request("POST", url, json={"advance": period}, timeout=PATIENCE, retries=False)
        expect(answer.status == 200, f"the clock answered {answer.status}")
