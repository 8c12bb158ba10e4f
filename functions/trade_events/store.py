"""Trades in SQL. Row level security decides which rows a session sees: see the migration of trades."""

from uuid import UUID

from kapas.db import Row, Session
from kapas.events import Event
from kapas.outbox import Change
from kapas.schemas.common import UnitPrice
from kapas.schemas.trades import Lot, Trade, TradeEvent

_TRADE = "id, version, status, seller_id, buyer_id, lot, ask_paise, price_paise, price_unit, created_at, updated_at"

_INSERT = """INSERT INTO trades (id, version, status, seller_id, lot, ask_paise, price_unit, created_at, updated_at)
  VALUES (:id, 1, :status, :seller_id, :lot, :ask_paise, :price_unit, :at, :at) RETURNING id, version"""

_UPDATE = """UPDATE trades
  SET version = version + 1, status = :status, buyer_id = :buyer_id, price_paise = :price_paise, updated_at = :at
  WHERE id = :id AND version = :expected_version RETURNING id, version"""

_APPEND = """INSERT INTO trade_events (trade_id, sequence, type, partner_id, data, occurred_at)
  SELECT id, version, :event_type, :partner_id, :event_data, :at FROM change"""


def insert(trade: Trade, event: Event) -> Change:
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
            "event_type": "lot_offered",
            "partner_id": trade.seller_id,
            "event_data": event.data.model_dump_json(),
            "at": trade.updated_at,
        },
        events=(event,),
        also=(_APPEND,),
    )


def append(trade: Trade, expected_version: int, partner_id: UUID, event_type: str, event: Event) -> Change:
    """The next step of a trade, provided that it still is at `expected_version`. `trade` is as it will be after it."""
    return Change(
        _UPDATE,
        {
            "id": trade.id,
            "status": trade.status,
            "buyer_id": trade.buyer_id,
            "price_paise": trade.price.paise if trade.price else None,
            "expected_version": expected_version,
            "event_type": event_type,
            "partner_id": partner_id,
            "event_data": event.data.model_dump_json(),
            "at": trade.updated_at,
        },
        events=(event,),
        also=(_APPEND,),
    )


def find(db: Session, trade_id: UUID) -> Trade | None:
    row = db.one(f"SELECT {_TRADE} FROM trades WHERE id = :id", id=trade_id)
    return _trade(row) if row else None


def page(db: Session, limit: int, after: UUID | None) -> list[Trade]:
    """The `limit` newest trades older than `after`."""
    rows = db.run(
        f"SELECT {_TRADE} FROM trades WHERE :after::uuid IS NULL OR id < :after::uuid ORDER BY id DESC LIMIT :limit",
        after=after,
        limit=limit,
    )
    return [_trade(row) for row in rows]


def events(db: Session, trade_id: UUID) -> list[TradeEvent]:
    """The steps of a trade that the session may see, oldest first."""
    rows = db.run(
        "SELECT sequence, type, partner_id, data, occurred_at FROM trade_events WHERE trade_id = :id ORDER BY sequence",
        id=trade_id,
    )
    return [_event(row) for row in rows]


def event(db: Session, trade_id: UUID, sequence: int) -> TradeEvent | None:
    row = db.one(
        "SELECT sequence, type, partner_id, data, occurred_at FROM trade_events WHERE trade_id = :id AND sequence = :n",
        id=trade_id,
        n=sequence,
    )
    return _event(row) if row else None


def may_trade(db: Session, partner_id: UUID) -> bool:
    """Whether the platform has activated the partner."""
    return db.one("SELECT FROM partners WHERE id = :id AND status = 'active'", id=partner_id) is not None


def _trade(row: Row) -> Trade:
    ask = UnitPrice(paise=row[6], unit=row[8])
    return Trade(
        id=row[0],
        version=row[1],
        status=row[2],
        seller_id=row[3],
        buyer_id=row[4],
        lot=Lot.model_validate(row[5]),
        ask=ask,
        price=None if row[7] is None else ask.model_copy(update={"paise": row[7]}),
        created_at=row[9],
        updated_at=row[10],
    )


def _event(row: Row) -> TradeEvent:
    return TradeEvent(sequence=row[0], type=row[1], partner_id=row[2], data=row[3], occurred_at=row[4])
