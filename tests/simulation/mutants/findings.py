"""What the simulation once found, put back: it finds it again, whatever its days have become since."""

from collections.abc import Iterator
from typing import Any

from tests.simulation.fleet import Functions
from tests.simulation.mutants import Patch, mutant


@mutant(200, "connection_drop", stories=("exports", "erasures"))
def missing_part_is_a_failure(functions: Functions) -> Iterator[Patch]:
    """An export whose parts an erasure has cleared away fails with an error that nobody expects."""
    preparing = functions.module("export-work").preparing
    take = preparing._take

    def taken(*args: Any) -> None:
        try:
            take(*args)
        except FileNotFoundError as gone:
            raise RuntimeError("A part of the export is gone") from gone

    yield preparing, "_take", taken


@mutant(200, "delay", stories=("joins", "erasures"))
def late_event_restores_the_document(functions: Functions) -> Iterator[Patch]:
    """An event that comes after its partner's erasure is written into the document that was overwritten."""
    projections = functions.module("live-feed").service.projections
    yield projections, "_unchanged", lambda document, event: projections.FOLDS[event.type](document, event)
