"""The peer of the append figure: FastAPI, SQLAlchemy's async ORM and asyncpg, written as their documentation does it.

It validates with the same model and does the same three writes in one transaction: the trade's row with its state, at
the version that the client read, the event, and the outbox. It does nothing else: no authentication, no idempotency, no
rules of trading, no row security. Its tables have the rows, columns, keys and checks of the real ones, without their
foreign keys and policies. The environment gives `PEER_DATABASE_URL` and `PEER_POOL`.
"""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, FastAPI, HTTPException, Request
from pydantic import BaseModel
from sqlalchemy import ARRAY, BigInteger, DateTime, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.orm.exc import StaleDataError

from functions.trade_events.deal.steps import Bid
from functions.trade_events.schemas import StepRequest
from kapas.values import clock, ids


class Base(DeclarativeBase):
    type_annotation_map = {  # noqa: RUF012 - declared by SQLAlchemy
        datetime: DateTime(timezone=True),
        int: BigInteger,
        str: Text,
        dict[str, Any]: JSONB,
        list[UUID]: ARRAY(Uuid),
    }


class TradeRow(Base):
    __tablename__ = "trades"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column()
    status: Mapped[str]
    due_at: Mapped[datetime]
    state: Mapped[dict[str, Any]]
    updated_at: Mapped[datetime]

    __table_args__ = {"schema": "peer"}  # noqa: RUF012
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012


class TradeEventRow(Base):
    __tablename__ = "trade_events"
    __table_args__ = {"schema": "peer"}  # noqa: RUF012

    trade_id: Mapped[UUID] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True)
    type: Mapped[str]
    role: Mapped[str]
    side: Mapped[str]
    partner_id: Mapped[UUID]
    bidder_id: Mapped[UUID]
    broker_ids: Mapped[list[UUID]]
    data: Mapped[dict[str, Any]]
    occurred_at: Mapped[datetime]
    recorded_at: Mapped[datetime]


class OutboxRow(Base):
    __tablename__ = "outbox"
    __table_args__ = {"schema": "peer"}  # noqa: RUF012

    event_id: Mapped[UUID] = mapped_column(primary_key=True)
    topic: Mapped[str]
    source: Mapped[str]
    type: Mapped[str]
    subject: Mapped[UUID]
    sequence: Mapped[int]
    data: Mapped[dict[str, Any]]
    partner_ids: Mapped[list[UUID]]
    traceparent: Mapped[str | None]
    occurred_at: Mapped[datetime]


class Appended(BaseModel):
    """What the peer answers."""

    trade_id: UUID
    sequence: int
    type: str
    occurred_at: datetime


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    engine = create_async_engine(
        os.environ["PEER_DATABASE_URL"], pool_size=int(os.environ["PEER_POOL"]), max_overflow=0
    )
    app.state.sessions = async_sessionmaker(engine, expire_on_commit=False)
    yield
    await engine.dispose()


async def session(request: Request) -> AsyncGenerator[AsyncSession]:
    async with request.app.state.sessions() as opened:
        yield opened


app = FastAPI(lifespan=lifespan)


@app.post("/v1/trades/{trade_id}/steps", status_code=201)
async def take_step(trade_id: UUID, body: StepRequest, db: Annotated[AsyncSession, Depends(session)]) -> Appended:
    step, now = body.step, clock.now()
    if not isinstance(step, Bid):
        raise HTTPException(422, "only bids are measured")
    trade = await db.get(TradeRow, trade_id)
    if trade is None:
        raise HTTPException(404)
    if trade.version != step.expected_version:
        raise HTTPException(409, f"the trade is at version {trade.version}")
    data = step.model_dump(mode="json")
    sequence = trade.version + 1
    trade.status, trade.due_at, trade.updated_at = "negotiating", step.valid_until, now
    trade.state = {**trade.state, "version": sequence, "talks": [*trade.state["talks"], data]}
    db.add(
        TradeEventRow(
            trade_id=trade_id,
            sequence=sequence,
            type="trade.bid_placed.v1",
            role="partner",
            side="buyer",
            partner_id=trade_id,
            bidder_id=trade_id,
            broker_ids=[],
            data=data,
            occurred_at=now,
            recorded_at=now,
        )
    )
    db.add(
        OutboxRow(
            event_id=ids.uuid7(),
            topic="trade-events",
            source="/trade_events",
            type="trade.bid_placed.v1",
            subject=trade_id,
            sequence=sequence,
            data=data,
            partner_ids=[trade_id],
            traceparent=None,
            occurred_at=now,
        )
    )
    try:
        await db.commit()
    except StaleDataError:
        raise HTTPException(409, "somebody else's step came first") from None
    return Appended(trade_id=trade_id, sequence=sequence, type="trade.bid_placed.v1", occurred_at=now)
