"""The peer of the append figure: FastAPI, SQLAlchemy's async ORM and asyncpg, written as their documentation does it.

It validates with the same model and writes the same two rows in one transaction, and does nothing else: no
authentication, no idempotency, no version check, no row security. Its tables have the columns, keys and checks of the
real ones, without their foreign keys and policies. The environment gives `PEER_DATABASE_URL` and `PEER_POOL`.
"""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, FastAPI, Request
from pydantic import BaseModel
from sqlalchemy import ARRAY, BigInteger, DateTime, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from functions.trade_events.step_schemas import TradeEventAppend
from kapas.values import clock, ids


class Base(DeclarativeBase):
    type_annotation_map = {  # noqa: RUF012 - declared by SQLAlchemy
        datetime: DateTime(timezone=True),
        int: BigInteger,
        str: Text,
        dict[str, Any]: JSONB,
        list[UUID]: ARRAY(Uuid),
    }


class TradeEventRow(Base):
    __tablename__ = "trade_events"
    __table_args__ = {"schema": "peer"}  # noqa: RUF012

    trade_id: Mapped[UUID] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True)
    type: Mapped[str]
    party: Mapped[str]
    partner_id: Mapped[UUID]
    bidder_id: Mapped[UUID]
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


@app.post("/v1/trades/{trade_id}/events", status_code=201)
async def append_event(
    trade_id: UUID, body: TradeEventAppend, db: Annotated[AsyncSession, Depends(session)]
) -> Appended:
    event, now = body.event, clock.now()
    data = event.model_dump(mode="json")
    sequence = (event.expected_version or 0) + 1
    db.add(
        TradeEventRow(
            trade_id=trade_id,
            sequence=sequence,
            type=event.type,
            party="bidder",
            partner_id=trade_id,
            bidder_id=trade_id,
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
            type=f"trade.{event.type}.v1",
            subject=trade_id,
            sequence=sequence,
            data=data,
            partner_ids=[trade_id],
            traceparent=None,
            occurred_at=now,
        )
    )
    await db.commit()
    return Appended(trade_id=trade_id, sequence=sequence, type=event.type, occurred_at=now)
