"""Facts that the platform records by itself: the state of a party's registration, and what a grading read."""

from decimal import Decimal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from kapas.messaging import outbox
from kapas.messaging.events import CloudEvent
from kapas.platform import log
from kapas.platform.db import PLATFORM, Database, Session
from kapas.values import clock

from . import recording, store
from .deal.decide import decide
from .deal.parties import SYSTEM, Actor, Parties, Party
from .deal.refusal import Refused
from .deal.steps import ReportStatus, Step, Test
from .deal.trade import Trade
from .deal.values import Figures, Side
from .schemas import ClientReference

PAGE = 100
DEVICE = "kapas-grading"
"""Under this name a grading is recorded, so that it has its effect once, however often its event comes."""

STANDING = ("partner.activated.v1", "partner.suspended.v1", "partner.rejected.v1", "erasure.requested.v1")
"""Events after which a partner may trade, or no more. What it may is read from its registration, not from the event."""
COMPLETED = "grading.completed.v1"

_FIGURES = {
    "micronaire": "micronaire",
    "strength": "strength_g_tex",
    "rd": "rd",
    "plus_b": "plus_b",
    "trash_weight": "trash_pct",
    "moisture": "moisture_pct",
}
"""Axis of a grading -> what a test calls it."""


class _Part(BaseModel):
    """Of an event only what trading reads, so that its publisher may say more."""

    model_config = ConfigDict(extra="ignore")


class _OfPartner(_Part):
    partner_id: UUID


class _Measurement(_Part):
    axis: str
    value: Decimal


class _Result(_Part):
    measured: list[_Measurement]
    length_mm: Decimal | None = None


class _Completed(_Part):
    grading_id: UUID
    kind: str
    trade_id: UUID | None
    partner_id: UUID
    result: _Result


def report_standing(database: Database, event: CloudEvent) -> bool:
    """Record in the trades of a partner that it may not go on, or may again; whether there were any.

    Killed midway or repeated, it goes on with the trades that do not say so yet.
    """
    if event.type not in STANDING:
        return False
    return _report(database, [_OfPartner.model_validate(event.data).partner_id]) > 0


def watch_standing(database: Database) -> int:
    """Report partners whose trades were matched while they were being suspended; how many trades there were."""
    reported, after = 0, UUID(int=0)
    while True:
        with database.session(PLATFORM) as db:
            partner_ids = store.inactive(db, after, PAGE)
        if not partner_ids:
            return reported
        reported += _report(database, partner_ids)
        after = partner_ids[-1]


def record_grading(database: Database, event: CloudEvent) -> bool:
    """Record what a completed grading read, as the reading of the party that ordered it; whether it did.

    It decides nothing: the other side accepts or contests it as any reading of a party.
    """
    if event.type != COMPLETED:
        return False
    grading = _Completed.model_validate(event.data)
    figures = _figures(grading.result)
    if grading.trade_id is None or figures is None:
        return _ignored(grading, "no_trade_or_no_figures")
    client = ClientReference(device_id=DEVICE, event_id=grading.grading_id)
    with database.session(PLATFORM) as db, db.transaction():
        trade = store.lock(db, grading.trade_id)
        side = None if trade is None else trade.side_of(grading.partner_id)
        if trade is None or side is None:
            return _ignored(grading, "not_a_party")
        if grading.grading_id in store.recorded(db, trade.id, grading.partner_id, DEVICE):
            return _ignored(grading, "recorded_before")
        step = Test(
            type="test",
            lift=max((lift.number for lift in trade.lifts), default=1),
            figures=figures,
            laboratory="photograph" if grading.kind in ("image", "device") else "laboratory",
            occurred_at=max(trade.offered_at, event.time),
        )
        actor = Actor(role="partner", partner_id=grading.partner_id, side=side)
        if not _record(db, trade, actor, step, client):
            return _ignored(grading, "refused")
    log.info("trade_graded", trade_id=grading.trade_id, grading_id=grading.grading_id)
    return True


def _report(database: Database, partner_ids: list[UUID]) -> int:
    reported, after = 0, UUID(int=0)
    while True:
        with database.session(PLATFORM) as db:
            trade_ids = store.unreported(db, partner_ids, after, PAGE)
        if not trade_ids:
            return reported
        for trade_id in trade_ids:
            reported += _report_in(database, trade_id)
        after = trade_ids[-1]


def _report_in(database: Database, trade_id: UUID) -> bool:
    """Record in one trade what the registrations of its parties say, where the trade says otherwise."""
    with database.session(PLATFORM) as db, db.transaction():
        if store.lock(db, trade_id) is None:
            return False
        found = store.find(db, trade_id, None)
        if found is None or found.trade.end is not None:
            return False
        trade, told = found.trade, False
        for side, partner_id in _sides(trade):
            known = found.partners.get(partner_id)
            status = trade.seller_status if side == "seller" else trade.buyer_status
            if known is None or known.party.status == status:
                continue
            step = ReportStatus(type="report_status", side=side, status=known.party.status)
            after = _record(db, trade, SYSTEM, step, None)
            trade, told = after or trade, told or after is not None
    return told


def _sides(trade: Trade) -> tuple[tuple[Side, UUID], ...]:
    buyer: tuple[tuple[Side, UUID], ...] = () if trade.buyer_id is None else (("buyer", trade.buyer_id),)
    return (("seller", trade.seller_id), *buyer)


def _record(db: Session, trade: Trade, actor: Actor, step: Step, client: ClientReference | None) -> Trade | None:
    """Write a fact of a trade that is locked; the trade after it, None if it cannot be."""
    parties = Parties(Party(id=trade.seller_id, constitution="company", cultivates=False, state=""))
    try:
        events = decide(trade, actor, step, clock.now(), parties)
    except Refused as refused:
        log.warning("trade_fact_refused", trade_id=trade.id, step=type(step).__name__, against=refused.against)
        return None
    recorded = recording.record(trade, events, client)
    outbox.commit(db, recorded.change)
    return recorded.trade


def _figures(result: _Result) -> Figures | None:
    read = {_FIGURES[one.axis]: one.value for one in result.measured if one.axis in _FIGURES}
    if result.length_mm is not None:
        read["staple_mm"] = result.length_mm
    try:
        return Figures.model_validate(read) if read else None
    except ValidationError:
        return None


def _ignored(grading: _Completed, why: str) -> bool:
    log.info("grading_ignored", grading_id=grading.grading_id, trade_id=grading.trade_id, reason=why)
    return False
