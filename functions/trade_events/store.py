"""Trades in SQL. Row level security decides which rows a session sees: see the migration of trades."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from kapas.errors import Conflict
from kapas.messaging.events import Event
from kapas.messaging.outbox import Change
from kapas.platform.db import Row, Session
from kapas.privacy.restrictions import UNRESTRICTED
from kapas.schemas.common import Amount, UnitPrice
from kapas.schemas.vocabulary import PartnerType

from .moment import NUMBER_TAKEN
from .schemas import Lot, Trade, TradeEvent, TradeQuery, TradeStatus
from .step_schemas import ClientReference

_TRADE = """t.id, t.version, t.status, t.seller_id, t.buyer_id, t.lot, t.ask_paise, t.price_paise, t.price_unit,
    t.quality_terms, t.minimum_grade, t.signed_by, t.cancellation_by, t.due_at, t.payable_paise, t.created_at, t.updated_at"""

_EVENT = "sequence, type, party, partner_id, data, occurred_at, recorded_at, device_id, client_event_id"

_OF_PARTNER = f"""(SELECT p.type FROM partners p WHERE p.id = :partner_id AND p.status = 'active'
    AND {UNRESTRICTED.format("p.id")})"""

_SELLER_TRADES = f"""EXISTS (SELECT FROM partners s WHERE s.id = t.seller_id AND s.status = 'active'
    AND {UNRESTRICTED.format("s.id")})"""

_FIND = f"SELECT {_TRADE}, {_OF_PARTNER}, {_SELLER_TRADES} FROM trades t WHERE t.id = :id"

_LOCK = f"{_FIND} FOR UPDATE OF t"

_INSERT = """INSERT INTO trades (id, version, status, seller_id, lot, ask_paise, price_unit, quality_terms, minimum_grade,
    due_at, created_at, updated_at)
  VALUES (:id, 1, :status, :seller_id, :lot, :ask_paise, :price_unit, :quality_terms, :minimum_grade, :due_at, :at, :at)
  RETURNING id, version"""

_UPDATE = """UPDATE trades
  SET version = version + 1, status = :status, buyer_id = :buyer_id, price_paise = :price_paise, signed_by = :signed_by,
    cancellation_by = :cancellation_by, due_at = :due_at, payable_paise = :payable_paise, updated_at = :at
  WHERE id = :id AND version = :expected_version RETURNING id, version"""

_APPEND = """INSERT INTO trade_events (trade_id, sequence, type, party, partner_id, bidder_id, data, occurred_at,
    recorded_at, device_id, client_event_id)
  SELECT id, version, :event_type, :party, :partner_id::uuid, :bidder_id::uuid, :event_data, :occurred_at, :at,
    :device_id, :client_event_id::uuid
  FROM change"""

_PAGE = f"""SELECT {_TRADE} FROM trades t
  WHERE (:after::uuid IS NULL OR t.id < :after::uuid)
    AND (:status::text IS NULL OR t.status = :status::text)
    AND (:variety::text IS NULL OR t.lot->>'variety' = :variety::text)
    AND (:crop_year::text IS NULL OR t.lot->>'crop_year' = :crop_year::text)
    AND (:party::text IS NULL OR :partner_id::uuid = CASE :party::text WHEN 'seller' THEN t.seller_id ELSE t.buyer_id END)
    AND (:partner_id::uuid IS NULL OR t.seller_id = :partner_id::uuid
         OR t.status NOT IN ('OFFERED', 'BID', 'NEGOTIATING') OR {_SELLER_TRADES})
  ORDER BY t.id DESC LIMIT :limit"""

_LAST_WORD = f"""SELECT {_EVENT} FROM trade_events
  WHERE trade_id = :id AND bidder_id = :bidder_id AND type IN ('bid_placed', 'price_countered', 'bid_withdrawn')
  ORDER BY sequence DESC LIMIT 1"""

_INVOICED = """SELECT 1 FROM trade_events
  WHERE type = 'payment_requested' AND partner_id = :seller_id AND upper(data->>'invoice_number') = upper(:number)
    AND extract(year FROM (occurred_at AT TIME ZONE 'Asia/Kolkata') - interval '3 months')
      = extract(year FROM (:issued_at::timestamptz AT TIME ZONE 'Asia/Kolkata') - interval '3 months')"""

_DUE = """SELECT id FROM trades WHERE due_at <= :before ORDER BY due_at, id LIMIT :limit"""


@dataclass(frozen=True, slots=True)
class Found:
    """A trade, and what kind of active partner the caller's is; None if it is not active or the caller has none."""

    trade: Trade
    partner_type: PartnerType | None
    seller_trades: bool
    """Whether the seller is active, and is not being erased."""


def insert(trade: Trade, first: TradeEvent, event: Event) -> Change:
    """A new trade with its first step."""
    return Change(
        _INSERT,
        {
            "id": trade.id,
            "status": trade.status,
            "seller_id": trade.seller_id,
            "lot": trade.lot.model_dump_json(),
            "ask_paise": trade.ask.paise,
            "price_unit": trade.ask.unit,
            "quality_terms": trade.quality_terms,
            "minimum_grade": trade.minimum_grade,
            "due_at": trade.due_at,
            **_appended(first, None),
        },
        events=(event,),
        also=(_APPEND,),
    )


def append(trade: Trade, appended: TradeEvent, bidder_id: UUID | None, event: Event) -> Change:
    """The next step of a trade, provided that it still is at the version before. `trade` is as it will be after it."""
    return Change(
        _UPDATE,
        {
            "id": trade.id,
            "status": trade.status,
            "buyer_id": trade.buyer_id,
            "price_paise": trade.price.paise if trade.price else None,
            "signed_by": trade.signed_by,
            "cancellation_by": trade.cancellation_by,
            "due_at": trade.due_at,
            "payable_paise": trade.payable.paise if trade.payable else None,
            "expected_version": trade.version - 1,
            **_appended(appended, bidder_id),
        },
        events=(event,),
        also=(_APPEND,),
        conflicts={
            "trade_events_client": Conflict("This event of the device is already recorded"),
            "trade_events_invoice": Conflict(NUMBER_TAKEN),
        },
    )


def _appended(event: TradeEvent, bidder_id: UUID | None) -> dict[str, Any]:
    client = event.client
    return {
        "event_type": event.type,
        "party": event.party,
        "partner_id": event.partner_id,
        "bidder_id": bidder_id,
        "event_data": json.dumps(event.data, separators=(",", ":")),
        "occurred_at": event.occurred_at,
        "at": event.recorded_at,
        "device_id": None if client is None else client.device_id,
        "client_event_id": None if client is None else client.event_id,
    }


def find(db: Session, trade_id: UUID, partner_id: UUID | None) -> Found | None:
    """The trade, and whether its seller and the caller's partner may trade, in one round trip."""
    return _found(db.one(_FIND, id=trade_id, partner_id=partner_id))


def lock(db: Session, trade_id: UUID, partner_id: UUID | None) -> Found | None:
    """`find`, and nobody else changes the trade until the transaction ends."""
    return _found(db.one(_LOCK, id=trade_id, partner_id=partner_id))


def partner_type(db: Session, partner_id: UUID) -> PartnerType | None:
    """What kind of partner this is, None unless the platform has activated it."""
    row = db.one(f"SELECT {_OF_PARTNER}", partner_id=partner_id)
    return None if row is None else row[0]


def page(db: Session, query: TradeQuery, limit: int, partner_id: UUID | None) -> list[Trade]:
    """The `limit` newest trades that fit the query, without open lots of others who trade no more."""
    rows = db.run(
        _PAGE,
        after=query.after_id(),
        limit=limit,
        status=query.status,
        party=query.party,
        partner_id=partner_id,
        variety=query.variety,
        crop_year=query.crop_year,
    )
    return [_trade(row) for row in rows]


def events(db: Session, trade_id: UUID, after: int = 0, limit: int | None = None) -> list[TradeEvent]:
    """The steps of a trade behind the sequence `after` that the session may see, oldest first."""
    rows = db.run(
        f"SELECT {_EVENT} FROM trade_events WHERE trade_id = :id AND sequence > :after ORDER BY sequence LIMIT :limit",
        id=trade_id,
        after=after,
        limit=limit,
    )
    return [_event(row) for row in rows]


def recorded(db: Session, trade_id: UUID, partner_id: UUID | None, device_id: str) -> Mapping[UUID, int]:
    """What is recorded of a device: its name for each event -> the sequence."""
    rows = db.run(
        """SELECT client_event_id, sequence FROM trade_events WHERE trade_id = :id AND device_id = :device_id
             AND partner_id IS NOT DISTINCT FROM :partner_id::uuid ORDER BY sequence""",
        id=trade_id,
        device_id=device_id,
        partner_id=partner_id,
    )
    return {row[0]: row[1] for row in rows}


def last_sampled_at(db: Session, trade_id: UUID) -> datetime | None:
    """When the last sample was recorded, by our clock: an inspector's device may be ahead of it."""
    row = db.one(
        "SELECT max(recorded_at) FROM trade_events WHERE trade_id = :id AND type = 'sample_drawn'", id=trade_id
    )
    return None if row is None else row[0]


def due(db: Session, before: datetime, limit: int) -> list[UUID]:
    """The trades that were due before then, the most overdue first."""
    return [row[0] for row in db.run(_DUE, before=before, limit=limit)]


@dataclass(frozen=True, slots=True)
class SqlHistory:
    """A `moment.History` of one trade."""

    db: Session
    trade_id: UUID

    def all(self) -> Sequence[TradeEvent]:
        return events(self.db, self.trade_id)

    def last_word(self, bidder_id: UUID) -> TradeEvent | None:
        row = self.db.one(_LAST_WORD, id=self.trade_id, bidder_id=bidder_id)
        event = None if row is None else _event(row)
        return None if event is None or event.type == "bid_withdrawn" else event

    def bidder_of(self, sequence: int) -> UUID | None:
        row = self.db.one(
            "SELECT bidder_id FROM trade_events WHERE trade_id = :id AND sequence = :n", id=self.trade_id, n=sequence
        )
        return None if row is None else row[0]

    def number_given(self, seller_id: UUID, number: str, issued_at: datetime) -> bool:
        return self.db.one(_INVOICED, seller_id=seller_id, number=number, issued_at=issued_at) is not None

    def bidders(self) -> Sequence[UUID]:
        rows = self.db.run(
            """SELECT DISTINCT bidder_id FROM trade_events WHERE trade_id = :id AND bidder_id IS NOT NULL
                 ORDER BY bidder_id""",
            id=self.trade_id,
        )
        return [row[0] for row in rows]


def _found(row: Row | None) -> Found | None:
    return None if row is None else Found(_trade(row), row[-2], row[-1])


def _trade(row: Row) -> Trade:
    ask = UnitPrice(paise=row[6], unit=row[8])
    status: TradeStatus = row[2]
    return Trade(
        id=row[0],
        version=row[1],
        status=status,
        seller_id=row[3],
        buyer_id=row[4],
        lot=Lot.model_validate(row[5]),
        ask=ask,
        price=None if row[7] is None else ask.model_copy(update={"paise": row[7]}),
        quality_terms=row[9],
        minimum_grade=row[10],
        signed_by=row[11],
        cancellation_by=row[12],
        due_at=row[13],
        payable=None if row[14] is None else Amount(paise=row[14]),
        created_at=row[15],
        updated_at=row[16],
    )


def _event(row: Row) -> TradeEvent:
    return TradeEvent(
        sequence=row[0],
        type=row[1],
        party=row[2],
        partner_id=row[3],
        data=row[4],
        occurred_at=row[5],
        recorded_at=row[6],
        client=None if row[7] is None else ClientReference(device_id=row[7], event_id=row[8]),
    )
