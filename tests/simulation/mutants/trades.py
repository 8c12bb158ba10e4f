"""Mistakes in what trades make of their contract, their facts and their deadlines."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

from tests.simulation.fleet import Functions
from tests.simulation.mutants import Patch, mutant

_DEALERS = ("trade-events", "trade-deadline", "trade-watchdog", "trade-quality", "trade-standing")
"""The functions that decide: each has modules of its own."""


def _deals(functions: Functions) -> Iterator[Any]:
    for name in _DEALERS:
        yield functions.module(name).deal


# The contract


@mutant(60, stories=("trades",))
def tolerance_is_ignored(functions: Functions) -> Iterator[Patch]:
    """However far the slips of both sides are apart, their mean pays."""
    for deal in _deals(functions):
        yield deal.weight, "_apart", lambda *_: False


@mutant(60, stories=("trades",))
def passed_a_day_early(functions: Functions) -> Iterator[Patch]:
    """The last day of the buyer's time does not count."""
    for deal in _deals(functions):
        lots = deal.quality._lots

        def early(trade: Any, lots: Any = lots) -> Iterator[Any]:
            for step in lots(trade):
                yield replace(step, due_at=step.due_at - timedelta(days=1)) if step.step == "pass_lots" else step

        yield deal.quality, "_lots", early


@mutant(30, stories=("trades",))
def lift_is_counted_twice(functions: Functions) -> Iterator[Patch]:
    """Bales count when they leave, and again when they arrive."""
    for deal in _deals(functions):
        parts = lambda trade: [part for lift in trade.lifts for part in (lift.dispatch, lift.arrival)]  # noqa: E731
        counted = lambda trade, parts=parts: sum(part.bales or 0 for part in parts(trade) if part)  # noqa: E731
        yield deal.delivery, "lifted_bales", counted


@mutant(30, stories=("trades",))
def taxed_by_the_wrong_registration(functions: Functions) -> Iterator[Patch]:
    """The buyer's registration is taken for the seller's."""
    for deal in _deals(functions):
        derive = deal.tax.derive
        yield (
            deal.tax,
            "derive",
            lambda terms, place, seller, sells, buyer, buys, derive=derive: derive(
                terms, place, buyer, buys, seller, sells
            ),
        )


# Facts


@mutant(60, stories=("trades",))
def late_fact_is_lost(functions: Functions) -> Iterator[Patch]:
    """What comes after its lift's invoice, or after the end, is refused and kept nowhere."""
    for deal in _deals(functions):
        authorise = deal.decide._authorise

        def refuse(trade: Any, actor: Any, step: Any, *rest: Any, deal: Any = deal, authorise: Any = authorise) -> None:
            authorise(trade, actor, step, *rest)
            if step.type == "weigh" and (trade.end or trade.lift(step.lift).invoice):
                raise deal.refusal.Refused("The lift is invoiced", against="the invoice")

        yield deal.decide, "_authorise", refuse


@mutant(60, stories=("trades",))
def late_slip_is_not_folded(functions: Functions) -> Iterator[Patch]:
    """A slip that comes after the invoice is in the timeline, and the trade does not have it."""
    for deal in _deals(functions):
        fold, weighed = deal.fold, deal.fold._HANDLERS[deal.events.Weighed]

        def forget(trade: Any, event: Any, slip: Any, weighed: Any = weighed) -> dict[str, Any]:
            return {} if trade.lift(slip.lift).invoice else weighed(trade, event, slip)

        yield fold, "_HANDLERS", {**fold._HANDLERS, deal.events.Weighed: forget}


@mutant(120, stories=("trades",))
def fact_is_answered_as_a_decision(functions: Functions) -> Iterator[Patch]:
    """A fact that another step came before is refused, though it needs no version."""
    service = functions.module("trade-events").service

    def take(db: Any, caller: Any, trade_id: Any, body: Any, commit: Any) -> Any:
        return commit(service._outcome(db, caller, service.find(db, caller, trade_id), body))

    yield service, "take", take


@mutant(30, stories=("trades",))
def device_is_not_recognised(functions: Functions) -> Iterator[Patch]:
    """What a device sends again is not told from what it sends for the first time."""
    yield functions.module("trade-events").service.store, "recorded", lambda *_: {}


# Who sees it, and when


@mutant(60, stories=("trades", "looks"))
def bidders_see_each_other(functions: Functions) -> Iterator[Patch]:
    """A trade is shown with every bid."""
    yield functions.module("trade-events").service.views, "talks", lambda trade, _: list(trade.talks)


@mutant(60, stories=("trades",))
def bids_are_told_to_rivals(functions: Functions) -> Iterator[Patch]:
    """An event of the market is told to everybody who has bid."""
    recording = functions.module("trade-events").service.recording
    readers = recording.readers

    def all_of_them(trade: Any, event: Any) -> tuple[Any, ...]:
        rivals = () if trade.match else (talk.bidder_id for talk in trade.talks)
        return tuple(dict.fromkeys((*readers(trade, event), *rivals)))

    yield recording, "readers", all_of_them


@mutant(30, stories=("trades",))
def document_forgets_the_deadline(functions: Functions) -> Iterator[Patch]:
    """The live document goes on showing the first deadline of a contract."""
    projections = functions.module("live-feed").service.projections
    yield (
        projections,
        "FOLDS",
        {
            name: (lambda _, event: {"status": event.data["trade_status"]}) if fold is projections._moved else fold
            for name, fold in projections.FOLDS.items()
        },
    )


@mutant(60, "skew", stories=("trades",))
def sweep_finds_no_deadline(functions: Functions) -> Iterator[Patch]:
    """A deadline whose task came too early, by a clock that was wrong, never happens."""
    yield functions.module("trade-watchdog").deadlines, "OVERDUE", timedelta(days=365)
