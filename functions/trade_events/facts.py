"""Facts about the bales, and their corrections: a correction refers to what was wrong, and nothing is edited.

After EPCIS 2.0 (GS1), section 7.4.1.2: an errorDeclaration says why an event is wrong, and which one is right.
"""

from collections.abc import Sequence
from typing import Any

from kapas.errors import Conflict, FieldError, Forbidden, Invalid
from kapas.schemas.common import Weight
from kapas.values.clock import rfc3339

from . import lifecycle, weighing
from .event_models import TradeCorrected, TradeDelivered, TradeDispatched, TradeSampled, TradeWeighed
from .moment import Effect, Moment, told
from .rules import rules
from .schemas import TradeEvent
from .settlement import weighed_bales
from .step_schemas import BalesWeighed, BaleWeight, Delivered, Dispatched, EventCorrected, SampleDrawn

BALES_PER_SAMPLE = 20
"""One sample from each 20 bales, 5 from a lot of 100 (Cotton Corporation of India, CCI/HO/Pur/2021-22)."""

Fact = BalesWeighed | SampleDrawn | Dispatched | Delivered


def bales_weighed(moment: Moment, body: BalesWeighed) -> Effect:
    _check_bales(moment, body.bales, moment.history.all(), "/event")
    sums = weighing.total(body.bales, rules().moisture)
    published = TradeWeighed(
        **moment.between, bales=sums.bales, net_weight=Weight(value=sums.net, unit="kg", kg_per_unit=None)
    )
    return told(moment, published)


def sample_drawn(moment: Moment, body: SampleDrawn) -> Effect:
    _check_count(moment, body, "/event")
    return told(moment, TradeSampled(**moment.between, samples=body.samples))


def dispatched(moment: Moment, body: Dispatched) -> Effect:
    _check_count(moment, body, "/event")
    return told(moment, TradeDispatched(**moment.between, bales=body.bales))


def delivered(moment: Moment, body: Delivered) -> Effect:
    _check_count(moment, body, "/event")
    return told(moment, TradeDelivered(**moment.between, bales=body.bales))


def event_corrected(moment: Moment, body: EventCorrected) -> Effect:
    """Raises as the fact itself would, `Forbidden` for somebody else's, `Conflict` for a weight that was invoiced."""
    events = moment.history.all()
    wrong = next((event for event in events if event.sequence == body.corrects), None)
    if wrong is None or wrong.type not in ("bales_weighed", "sample_drawn", "dispatched", "delivered"):
        raise _invalid(
            "/event/corrects",
            "fact",
            "This sequence is not a correctable fact: bales_weighed, sample_drawn, dispatched or delivered",
        )
    if (wrong.party, wrong.partner_id) != (moment.party, moment.partner_id):
        raise Forbidden("Only the party that recorded a fact may correct it")
    if wrong.type == "bales_weighed" and moment.trade.payable is not None:
        raise Conflict(
            "The weight is already invoiced; correct it with a credit or debit note (CGST Act 2017, section 34)"
        )
    replacement = body.replacement
    if (replacement is None) != (body.reason == "did_not_occur"):
        raise _invalid(
            "/event/replacement", "replacement", "Omit the replacement for did_not_occur; send one for incorrect data"
        )
    if replacement is None:
        if wrong.type != "bales_weighed":
            raise Conflict(f"The trade has moved on after {wrong.type}; raise a dispute instead")
    elif replacement.type != wrong.type:
        raise _invalid("/event/replacement/type", "type", f"The replacement must have the type {wrong.type}")
    else:
        occurred_at = replacement.occurred_at or wrong.occurred_at
        lifecycle.happened(moment.trade, occurred_at, wrong.recorded_at, moment.now, at="/event/replacement")
        _check(moment, replacement, events, body.corrects)
    published = TradeCorrected(**moment.between, corrects=body.corrects, corrected_type=wrong.type, reason=body.reason)
    return told(moment, published, replacement=None if replacement is None else _kept(replacement, wrong))


def facts(body: Fact) -> dict[str, Any]:
    """What is kept of a fact."""
    return body.model_dump(mode="json", exclude={"type", "expected_version", "occurred_at"})


def _kept(replacement: Fact, wrong: TradeEvent) -> dict[str, Any]:
    return {"data": facts(replacement), "occurred_at": rfc3339(replacement.occurred_at or wrong.occurred_at)}


def _check(moment: Moment, replacement: Fact, events: Sequence[TradeEvent], corrects: int) -> None:
    if isinstance(replacement, BalesWeighed):
        # The bales of the other weighings; a correction of this one is replaced as a whole.
        others = [event for event in events if event.sequence != corrects and event.data.get("corrects") != corrects]
        _check_bales(moment, replacement.bales, others, "/event/replacement")
    else:
        _check_count(moment, replacement, "/event/replacement")


def _check_bales(moment: Moment, bales: Sequence[BaleWeight], events: Sequence[TradeEvent], at: str) -> None:
    # Against the party's own weighings only: an inspector's and a seller's may be of the same bales, and come in any order.
    weighed = {bale.mark for bale in weighed_bales(events, moment.party)}
    found = [
        FieldError(f"{at}/bales/{index}/{field}", "bale", message)
        for index, field, message in weighing.faults(bales, rules().moisture)
    ]
    found += [
        FieldError(f"{at}/bales/{index}/mark", "bale", "Another weighing already has a bale with this mark")
        for index, bale in enumerate(bales)
        if bale.mark in weighed
    ]
    if len(weighed) + len(bales) > moment.trade.lot.bales:
        found.append(FieldError(f"{at}/bales", "bale", f"The lot has {moment.trade.lot.bales} bales"))
    if found:
        raise Invalid(f"{len(found)} of the bales' figures are invalid; see errors", errors=found)


def _check_count(moment: Moment, fact: SampleDrawn | Dispatched | Delivered, at: str) -> None:
    bales = moment.trade.lot.bales
    if isinstance(fact, SampleDrawn):
        needed = -(-bales // BALES_PER_SAMPLE)
        if fact.samples < needed:
            raise _invalid(
                f"{at}/samples", "samples", f"A lot of {bales} bales needs {needed} samples, one for every 20 bales"
            )
    elif fact.bales > bales:
        raise _invalid(f"{at}/bales", "bales", f"The lot has {bales} bales")


def _invalid(pointer: str, code: str, message: str) -> Invalid:
    return Invalid(message, errors=[FieldError(pointer, code, message)])
