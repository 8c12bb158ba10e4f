"""The peer of the create figure: the same validation, and a partner's row with its event in one transaction.

FastAPI, SQLAlchemy's async ORM and asyncpg, as `fastapi_app` has them. It keeps every detail in clear: no authentication, no
encryption and so no row of keys, no check digits, no refusal of Aadhaar numbers, no idempotency, no row security, no
requirements in the answer. Its unique columns are those that ours finds duplicates by.
"""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, FastAPI
from pydantic import BaseModel
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from functions.partner_onboarding.schemas import PartnerCreate
from kapas.values import clock, ids
from tools.bench.peers.fastapi_app import Base, OutboxRow, lifespan, session


class PartnerRow(Base):
    __tablename__ = "partners"
    __table_args__ = {"schema": "peer"}  # noqa: RUF012 - declared by SQLAlchemy

    id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int]
    status: Mapped[str]
    type: Mapped[str]
    constitution: Mapped[str]
    submission: Mapped[int]
    clarifications: Mapped[list[str]] = mapped_column(JSONB)
    legal_name: Mapped[str]
    contact: Mapped[dict[str, Any]]
    pan: Mapped[str | None]
    gstin: Mapped[str | None]
    cin: Mapped[str | None]
    address: Mapped[dict[str, Any] | None]
    ifsc: Mapped[str | None]
    account: Mapped[str | None]
    beneficial_owners: Mapped[list[dict[str, Any]] | None] = mapped_column(JSONB)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Registered(BaseModel):
    """What the peer answers."""

    id: UUID
    version: int
    status: str
    type: str
    legal_name: str
    created_at: datetime


app = FastAPI(lifespan=lifespan)


@app.post("/v1/partners", status_code=201)
async def register(body: PartnerCreate, db: Annotated[AsyncSession, Depends(session)]) -> Registered:
    now, partner_id = clock.now(), ids.uuid7()
    details = body.model_dump(mode="json")
    account = details["bank_account"] or {}
    db.add(
        PartnerRow(
            id=partner_id,
            version=1,
            status="created",
            type=body.type,
            constitution=body.constitution,
            submission=0,
            clarifications=[],
            legal_name=body.legal_name,
            contact=details["contact"],
            pan=body.identifiers.pan,
            gstin=body.identifiers.gstin,
            cin=body.identifiers.cin,
            address=details["address"],
            ifsc=account.get("ifsc"),
            account=account.get("number"),
            beneficial_owners=details["beneficial_owners"],
            created_at=now,
            updated_at=now,
        )
    )
    db.add(
        OutboxRow(
            event_id=ids.uuid7(),
            topic="partner-events",
            source="/partner_onboarding",
            type="partner.created.v1",
            subject=partner_id,
            sequence=1,
            data={"partner_id": str(partner_id), "partner_type": body.type},
            partner_ids=[partner_id],
            traceparent=None,
            occurred_at=now,
        )
    )
    await db.commit()
    return Registered(
        id=partner_id, version=1, status="created", type=body.type, legal_name=body.legal_name, created_at=now
    )
