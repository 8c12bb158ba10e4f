"""Who processes personal data for the platform on the strength of a consent, from `processors.json`.

The platform's own functions are not among them: they ask `kapas.privacy.consents.granted` each time.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from .schemas import Purpose

FILE = Path(__file__).with_name("processors.json")


@dataclass(frozen=True, slots=True)
class Processor:
    """One that has to stop when a consent to one of its purposes ends. The platform's staff tells it."""

    name: str
    purposes: tuple[Purpose, ...]
    acknowledge_within: timedelta


def load(path: Path = FILE) -> tuple[Processor, ...]:
    """Every processor, in the order of the file."""
    return tuple(
        Processor(
            entry["name"],
            tuple(entry["purposes"]),
            timedelta(days=entry["acknowledge_within_days"]),
        )
        for entry in json.loads(path.read_text())["processors"]
    )


def of(purpose: Purpose, processors: Sequence[Processor]) -> list[Processor]:
    """Those that process for `purpose`."""
    return [processor for processor in processors if purpose in processor.purposes]
