"""Trades in SQL. Row level security decides which rows a session sees: see the migration of trades."""

import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from kapas.errors import Conflict
from kapas.messaging.events import Event as Published
from kapas.messaging.outbox import Change
from kapas.platform.db import Session
from kapas.privacy.restrictions import UNRESTRICTED
from kapas.schemas.vocabulary import TradeStatus

from . import partner_store
from .deal.events import PUBLISHED_ONLY, Event
from .deal.trade import Trade
from .schemas import ClientReference, TimelineEvent, TradeQuery, TradeSummary

OPEN: tuple[TradeStatus, ...] = ("offered", "negotiating")
"""The lot is on the market."""
_ON_MARKET = "status IN ('offered', 'negotiating')"

_FIND = f"""SELECT t.state::text, t.due_at, p.* FROM trades t
  LEFT JOIN LATERAL (SELECT {partner_store.COLUMNS} FROM partners p
    WHERE p.id IN (t.seller_id, t.buyer_id, :partner_id::uuid) ORDER BY p.id) AS p ON true
  WHERE t.id = :id"""

_LOCK = "SELECT state::text FROM trades WHERE id = :id FOR UPDATE"

_INSERT = """INSERT INTO trades (id, version, status, seller_id, buyer_id, broker_ids, template, kind, variety, crop_year,
    station, ask_paise, ask_unit, due_at, state, created_at, updated_at)
  VALUES (:id, :version, :status, :seller_id, NULL, :broker_ids::uuid[], :template, :kind, :variety, :crop_year, :station,
    :ask_paise, :ask_unit, :due_at, :state::jsonb, :at, :at)
  RETURNING id"""

_UPDATE = """UPDATE trades
  SET version = :version, status = :status, buyer_id = :buyer_id, broker_ids = :broker_ids::uuid[], template = :template,
    ask_paise = :ask_paise, due_at = :due_at, state = :state::jsonb, updated_at = :at
  WHERE id = :id AND version = :expected_version RETURNING id"""

_APPEND = """INSERT INTO trade_events (trade_id, sequence, type, role, side, partner_id, principal_id, bidder_id, broker_ids,
    device_id, client_event_id, data, occurred_at, recorded_at)
  SELECT change.id, e.sequence, e.type, e.role, e.side, e.partner_id, e.principal_id, e.bidder_id, e.broker_ids,
    e.device_id, e.client_event_id, e.data, e.occurred_at, e.recorded_at
  FROM change, jsonb_to_recordset(:events::jsonb) AS e (sequence bigint, type text, role text, side text, partner_id uuid,
    principal_id uuid, bidder_id uuid, broker_ids uuid[], device_id text, client_event_id uuid, data jsonb,
    occurred_at timestamptz, recorded_at timestamptz)"""

_SELLER_TRADES = f"""EXISTS (SELECT FROM partners s WHERE s.id = t.seller_id AND s.status = 'active'
    AND {UNRESTRICTED.format("s.id")})"""

_PAGE = f"""SELECT t.id, t.version, t.status, t.seller_id, t.buyer_id, t.template, t.state->'lot', t.state->'ask',
    t.state->'match', CASE WHEN t.{_ON_MARKET} THEN (t.state->>'valid_until')::timestamptz ELSE t.due_at END,
    t.created_at, t.updated_at
  FROM trades t
  WHERE (:after::uuid IS NULL OR t.id < :after::uuid)
    AND (:status::text IS NULL OR t.status = :status::text)
    AND (:template::text IS NULL OR t.template = :template::text)
    AND (:variety::text IS NULL OR t.variety = :variety::text)
    AND (:crop_year::text IS NULL OR t.crop_year = :crop_year::text)
    AND (:station::text IS NULL OR t.station = :station::text)
    AND (:party::text IS NULL OR CASE :party::text
      WHEN 'seller' THEN t.seller_id = :partner_id::uuid
      WHEN 'buyer' THEN t.buyer_id = :partner_id::uuid
      ELSE t.broker_ids @> ARRAY[:partner_id::uuid] END)
    AND (:partner_id::uuid IS NULL OR t.seller_id = :partner_id::uuid OR NOT t.{_ON_MARKET} OR {_SELLER_TRADES})
  ORDER BY t.id DESC LIMIT :limit"""

_TIMELINE = """SELECT sequence, type, role, side, partner_id, principal_id, bidder_id, data, occurred_at, recorded_at,
    device_id, client_event_id
  FROM trade_events WHERE trade_id = :id AND sequence > :after ORDER BY sequence LIMIT :limit"""

_DUE = "SELECT id FROM trades WHERE due_at <= :before ORDER BY due_at, id LIMIT :limit"

# A party that may not trade any more while the trade says that it may, or the other way round.
_STANDINGS = f"""SELECT t.id FROM trades t
  JOIN LATERAL (SELECT t.seller_id AS party_id, t.state->>'seller_status' AS known
    UNION ALL SELECT t.buyer_id, t.state->>'buyer_status') AS side ON true
  JOIN partners p ON p.id = side.party_id
  WHERE t.status IN ('matched', 'contracted', 'in_delivery', 'disputed')
    AND (t.seller_id = ANY(:ids::uuid[]) OR t.buyer_id = ANY(:ids::uuid[])) AND t.id > :after
    AND side.known <> CASE WHEN NOT {UNRESTRICTED.format("p.id")} THEN 'erased' WHEN p.status = 'active' THEN 'active'
      ELSE 'suspended' END
  ORDER BY t.id LIMIT :limit"""

_INACTIVE = f"""SELECT p.id FROM partners p
  WHERE (p.status IN ('suspended', 'rejected') OR NOT {UNRESTRICTED.format("p.id")}) AND p.id > :after
  ORDER BY p.id LIMIT :limit"""

NUMBER_TAKEN = "This invoice number was given before in this financial year"


@dataclass(frozen=True, slots=True)
class Found:
    """A trade, and what is known of its parties and of the partner that asks."""

    trade: Trade
    due_at: datetime | None
    """When the most urgent open step is due."""
    partners: Mapping[UUID, partner_store.Known]


@dataclass(frozen=True, slots=True)
class Summary:
    """What a trade's row repeats of the trade, and what follows from it."""

    trade: Trade
    due_at: datetime | None
    broker_ids: Sequence[UUID]


@dataclass(frozen=True, slots=True)
class Row:
    """An event to append: with whom it is, if it is with one bidder, and the device's name for it."""

    event: Event
    bidder_id: UUID | None
    broker_ids: Sequence[UUID]
    client: ClientReference | None


def insert(summary: Summary, rows: Sequence[Row], published: Sequence[Published]) -> Change:
    """A new trade with its first event."""
    lot = summary.trade.lot
    parameters = _columns(summary, rows) | {
        "seller_id": summary.trade.seller_id,
        "kind": lot.kind,
        "variety": lot.variety,
        "crop_year": lot.crop_year,
        "station": lot.station,
        "ask_unit": summary.trade.ask.unit,
    }
    return Change(_INSERT, parameters, events=tuple(published), also=(_APPEND,))


def append(summary: Summary, rows: Sequence[Row], published: Sequence[Published]) -> Change:
    """The next events of a trade, provided that it still is at the version before them."""
    parameters = _columns(summary, rows) | {
        "buyer_id": summary.trade.buyer_id,
        "expected_version": rows[0].event.sequence - 1,
    }
    conflicts = {
        "trade_events_client": Conflict("The device's step is recorded already"),
        "trade_events_invoice": Conflict(NUMBER_TAKEN),
    }
    return Change(_UPDATE, parameters, events=tuple(published), also=(_APPEND,), conflicts=conflicts)


def unchanged() -> Change:
    """No change of a trade, and so no event."""
    return Change("SELECT 1", {})


@contextmanager
def savepoint(db: Session) -> Generator[None]:
    """Within a transaction: what a failure within leaves undone is this part alone."""
    db.command("SAVEPOINT step")
    try:
        yield
    except Exception:
        db.command("ROLLBACK TO SAVEPOINT step")
        raise


def find(db: Session, trade_id: UUID, partner_id: UUID | None) -> Found | None:
    """The trade, and what is known of its parties and of that partner, in one round trip."""
    rows = db.run(_FIND, id=trade_id, partner_id=partner_id)
    if not rows:
        return None
    known = {row[2]: partner_store.known(row[2:]) for row in rows if row[2] is not None}
    return Found(Trade.load(rows[0][0]), rows[0][1], known)


def lock(db: Session, trade_id: UUID) -> Trade | None:
    """The trade, which nobody else changes until the transaction ends."""
    row = db.one(_LOCK, id=trade_id)
    return None if row is None else Trade.load(row[0])


def page(db: Session, query: TradeQuery, limit: int, partner_id: UUID | None) -> list[TradeSummary]:
    """The `limit` newest trades that fit the query, without open lots of others who trade no more."""
    rows = db.run(
        _PAGE,
        after=query.after_id(),
        limit=limit,
        status=query.status,
        party=query.party,
        partner_id=partner_id,
        template=query.template,
        variety=query.variety,
        crop_year=query.crop_year,
        station=query.station,
    )
    return [_summary(row) for row in rows]


def timeline(db: Session, trade_id: UUID, after: int = 0, limit: int | None = None) -> list[TimelineEvent]:
    """The events of a trade behind the sequence `after` that the session may see, oldest first."""
    return [_event(row) for row in db.run(_TIMELINE, id=trade_id, after=after, limit=limit)]


def events(db: Session, trade_id: UUID) -> list[Event]:
    """All events of a trade that the session may see, to be folded."""
    rows = db.run(_TIMELINE, id=trade_id, after=0, limit=None)
    return [
        Event.from_json(
            {
                "trade_id": str(trade_id),
                "sequence": row[0],
                "type": row[1],
                "by": {"role": row[2], "side": row[3], "partner_id": row[4], "principal_id": row[5]},
                "data": row[7],
                "occurred_at": row[8].isoformat(),
                "at": row[9].isoformat(),
            }
        )
        for row in rows
    ]


def recorded(db: Session, trade_id: UUID, partner_id: UUID | None, device_id: str) -> Mapping[UUID, int]:
    """What is recorded of a device: its name for each step -> the sequence."""
    rows = db.run(
        """SELECT client_event_id, sequence FROM trade_events WHERE trade_id = :id AND device_id = :device_id
             AND partner_id IS NOT DISTINCT FROM :partner_id::uuid ORDER BY sequence""",
        id=trade_id,
        device_id=device_id,
        partner_id=partner_id,
    )
    return {row[0]: row[1] for row in rows}


def position(db: Session, trade_id: UUID) -> tuple[int, datetime | None] | None:
    """The version of a trade, and when its most urgent open step is due."""
    row = db.one("SELECT version, due_at FROM trades WHERE id = :id", id=trade_id)
    return None if row is None else (row[0], row[1])


def due(db: Session, before: datetime, limit: int) -> list[UUID]:
    """The trades that were due before then, the most overdue first."""
    return [row[0] for row in db.run(_DUE, before=before, limit=limit)]


def unreported(db: Session, partner_ids: Sequence[UUID], after: UUID, limit: int) -> list[UUID]:
    """Trades with one of these partners that say otherwise of a party than its registration does, in the order of ids."""
    return [row[0] for row in db.run(_STANDINGS, ids=list(partner_ids), after=after, limit=limit)]


def inactive(db: Session, after: UUID, limit: int) -> list[UUID]:
    """Partners that were suspended, rejected or are erased, in the order of their ids."""
    return [row[0] for row in db.run(_INACTIVE, after=after, limit=limit)]


def _columns(summary: Summary, rows: Sequence[Row]) -> dict[str, Any]:
    trade = summary.trade
    return {
        "id": trade.id,
        "version": trade.version,
        "status": trade.status,
        "broker_ids": list(summary.broker_ids),
        "template": trade.terms.template,
        "ask_paise": trade.ask.paise,
        "due_at": summary.due_at,
        "state": trade.dump(),
        "at": trade.updated_at,
        "events": json.dumps([_record(row) for row in rows], separators=(",", ":")),
    }


def _record(row: Row) -> dict[str, Any]:
    event, client = row.event, row.client
    return {
        "sequence": event.sequence,
        "type": event.payload.type,
        **event.by.model_dump(mode="json"),
        "bidder_id": None if row.bidder_id is None else str(row.bidder_id),
        "broker_ids": [str(broker_id) for broker_id in row.broker_ids],
        "device_id": None if client is None else client.device_id,
        "client_event_id": None if client is None else str(client.event_id),
        "data": event.payload.model_dump(mode="json", exclude=PUBLISHED_ONLY),
        "occurred_at": event.occurred_at.isoformat(),
        "recorded_at": event.at.isoformat(),
    }


def _summary(row: list[Any]) -> TradeSummary:
    match: dict[str, Any] | None = row[8]
    return TradeSummary.model_validate(
        {
            "id": row[0],
            "version": row[1],
            "status": row[2],
            "seller_id": row[3],
            "buyer_id": row[4],
            "template": row[5],
            "lot": row[6],
            "ask": row[7],
            "price": match and match["price"],
            "quantity": match and match["quantity"],
            "due_at": row[9],
            "created_at": row[10],
            "updated_at": row[11],
        }
    )


def _event(row: list[Any]) -> TimelineEvent:
    return TimelineEvent(
        sequence=row[0],
        type=row[1],
        role=row[2],
        side=row[3],
        partner_id=row[4],
        principal_id=row[5],
        bidder_id=row[6],
        data=row[7],
        occurred_at=row[8],
        recorded_at=row[9],
        client=None if row[10] is None else ClientReference(device_id=row[10], event_id=row[11]),
    )
