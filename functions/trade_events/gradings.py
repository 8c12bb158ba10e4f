"""Gradings of a traded lot: a completed one says whether the lot is as contracted.

A party orders gradings of its own, and sends the figures itself: against its interest they decide, in its favour they claim.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from kapas.errors import Conflict, Unavailable, VersionConflict
from kapas.messaging import outbox
from kapas.messaging.events import CloudEvent
from kapas.platform import log
from kapas.platform.db import PLATFORM, Database, UniqueViolation

from . import service, store
from .moment import Body, GradingDecided, QualityClaimed, Verdict
from .schemas import Grade, Trade
from .step_schemas import ClientReference

COMPLETED = "grading.completed.v1"
DEVICE = "kapas-grading"
"""Under this name a grading is recorded, so that it has its effect once, however often its event comes."""


_FIGURES = {"rd": "rd", "plus_b": "plus_b", "trash_weight": "trash_weight_pct"}
"""Axis of a grading -> what a settlement calls it."""


_STEPS: dict[Verdict, Literal["quality_passed", "quality_failed"]] = {
    "passed": "quality_passed",
    "failed": "quality_failed",
}


class _Part(BaseModel):
    """Of the event only what trading reads, so that a grading may say more."""

    model_config = ConfigDict(extra="ignore")


class _Measurement(_Part):
    axis: str
    value: Decimal


class _PlatformGrade(_Part):
    grade: Grade | None


class _Result(_Part):
    measured: list[_Measurement]
    platform_grade: _PlatformGrade


class _Completed(_Part):
    grading_id: UUID
    trade_id: UUID | None
    partner_id: UUID
    result: _Result


def decide(database: Database, event: CloudEvent) -> bool:
    """Decide on a sampled trade by a grading, or record its claim; whether it did either. The lot is as contracted if its
    grade is the minimum or better.

    Nothing moves where the grading came to no grade, the trade is not waiting for one (any more), the grading is older
    than the last sample, or who asked for it is no party of the trade.

    Raises:
        Unavailable: somebody else changed the trade at this moment: Pub/Sub delivers again.
    """
    if event.type != COMPLETED:
        return False
    grading = _Completed.model_validate(event.data)
    grade = grading.result.platform_grade.grade
    if grading.trade_id is None or grade is None:
        return _ignored(grading, "no_trade_or_no_grade")
    with database.session(PLATFORM) as db:
        found = store.find(db, grading.trade_id, None)
        if found is None:
            return _ignored(grading, "unknown_trade")
        trade = found.trade
        if grading.partner_id not in (trade.seller_id, trade.buyer_id):
            return _ignored(grading, "not_a_party")
        if trade.status != "SAMPLED":
            return _ignored(grading, "not_waiting")
        sampled_at = store.last_sampled_at(db, trade.id)
        if sampled_at is not None and event.time < sampled_at:
            return _ignored(grading, "older_than_the_sample")
        verdict: Verdict = "passed" if grade <= trade.minimum_grade else "failed"
        figures = {_FIGURES[m.axis]: m.value for m in grading.result.measured if m.axis in _FIGURES}
        found_out: dict[str, Any] = {"grading_id": grading.grading_id, "grade": grade}
        body: Body
        if _against_itself(trade, grading.partner_id, verdict):
            if grading.partner_id == trade.seller_id and trade.quality_terms != "none":
                figures = _lowering(trade, figures)
            actor, body = service.SYSTEM, GradingDecided(type=_STEPS[verdict], figures=figures, **found_out)
        else:
            actor = service.Actor(grading.partner_id)
            body = QualityClaimed(verdict=verdict, figures=figures, **found_out)
        client = ClientReference(device_id=DEVICE, event_id=grading.grading_id)
        try:
            history = store.SqlHistory(db, trade.id)
            outbox.commit(db, service.take(history, trade, actor, body, client).change)
        except (Conflict, UniqueViolation):
            return _ignored(grading, "known_already")
        except VersionConflict:
            raise Unavailable("Somebody else changed the trade") from None
    log.info("trade_graded", trade_id=trade.id, grading_id=grading.grading_id, step=body.type)
    return True


def _against_itself(trade: Trade, partner_id: UUID, verdict: Verdict) -> bool:
    """Whether nothing in the verdict favours the party that ordered the grading.

    That the lot passed is against a buyer, unless a table makes a price of the figures: lower ones are in its favour.
    """
    if partner_id == trade.seller_id:
        return verdict == "failed"
    return verdict == "passed" and trade.quality_terms == "none"


def _lowering(trade: Trade, figures: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """Of a seller's own figures those that are worse than what the lot was offered with: a premium is in its favour."""
    offered = trade.lot.quality.model_dump()
    return {name: value for name, value in figures.items() if _is_worse(name, value, offered[name])}


def _is_worse(name: str, value: Decimal, offered: Decimal | None) -> bool:
    """Less bright, more yellow or with more trash. Of what the offer left out only brightness could raise the price."""
    if name == "rd":
        return offered is not None and value < offered
    return offered is None or value > offered


def _ignored(grading: _Completed, why: str) -> bool:
    log.info("grading_ignored", grading_id=grading.grading_id, trade_id=grading.trade_id, reason=why)
    return False
