"""Gradings, readings and budgets in SQL. Row level security decides which rows a session sees."""

from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from kapas.http.identity import Tier
from kapas.messaging.events import Event
from kapas.messaging.outbox import Change
from kapas.platform.db import Row, Session
from kapas.privacy.restrictions import UNRESTRICTED
from kapas.schemas.vocabulary import TradeStatus

from .readings import Reading
from .schemas import Grading, Refusal

_GRADING = """id, version, kind, status, trade_id, image, provisional, result, refusal, created_at, updated_at"""

# The guard of a new grading is the partner's day: two at once wait for each other on its row, and the later one finds it
# spent.
# Here too it is asked whether the partner is being erased: a request that was held up may come after its erasure.
_CHARGE = f"""INSERT INTO grading_budgets AS b (partner_id, day, used)
  SELECT :partner_id::uuid, :day::date, 1 WHERE {UNRESTRICTED.format(":partner_id::uuid")}
  ON CONFLICT (partner_id, day) DO UPDATE SET used = b.used + 1 WHERE b.used < :daily RETURNING used"""

_INSERT = """INSERT INTO gradings
    (id, version, partner_id, kind, status, trade_id, request, image, provisional, result, created_at, updated_at)
  SELECT :id::uuid, 1, :partner_id::uuid, :kind, :status, :trade_id::uuid, :request::jsonb, :image::jsonb,
    :provisional::jsonb, :result::jsonb, :at::timestamptz, :at::timestamptz FROM change"""

_USE = """INSERT INTO grading_usage (grading_id, partner_id, day, tier, used_at)
  SELECT :id::uuid, :partner_id::uuid, :day::date, :tier, :at::timestamptz FROM change"""

# An erasure may have been asked for since: then nothing more is begun, and what was read meanwhile does not count.
_QUEUE = f"""UPDATE gradings SET version = version + 1, status = 'queued', updated_at = :at
  WHERE id = :id AND version = :version AND status = 'awaiting_image'
    AND {UNRESTRICTED.format("gradings.partner_id")}
  RETURNING id"""

_STILL_AWAITED = f"""SELECT id FROM gradings
  WHERE id = :id AND version = :version AND status = 'awaiting_image'
    AND {UNRESTRICTED.format("gradings.partner_id")}
  ORDER BY id"""

_FINISH = f"""UPDATE gradings
  SET version = version + 1, status = :status, result = :result, refusal = :refusal, updated_at = :at
  WHERE id = :id AND version = :version AND status = 'queued'
    AND (:status = 'refused' OR {UNRESTRICTED.format("gradings.partner_id")})
  RETURNING id"""

_STATUS = """SELECT status FROM trades WHERE id = :trade_id AND (seller_id = :partner_id OR buyer_id = :partner_id)"""


@dataclass(frozen=True, slots=True)
class Queued:
    """A grading that waits to be graded."""

    partner_id: UUID
    grading: Grading
    attempts: int
    """How often reading its image was begun."""


def insert(grading: Grading, partner_id: UUID, request: str, tier: Tier, day: date, daily: int, event: Event) -> Change:
    """A new grading, charged to the partner's day; without effect if `daily` are used. `request` is what was sent."""
    return Change(
        _CHARGE,
        {
            "partner_id": partner_id,
            "day": day,
            "daily": daily,
            "id": grading.id,
            "kind": grading.kind,
            "status": grading.status,
            "trade_id": grading.trade_id,
            "request": request,
            "image": grading.image.model_dump_json() if grading.image else None,
            "provisional": grading.provisional.model_dump_json() if grading.provisional else None,
            "result": grading.result.model_dump_json() if grading.result else None,
            "tier": tier.value,
            "at": grading.created_at,
        },
        events=(event,),
        also=(_INSERT, _USE),
    )


def queue(grading: Grading, version: int, event: Event) -> Change:
    """The grading as it waits to be graded, provided that it still is at `version`."""
    parameters = {"id": grading.id, "version": version, "at": grading.updated_at}
    return Change(_QUEUE, parameters, events=(event,))


def still_awaited(grading: Grading) -> Change:
    """No change of the grading, provided that its image is still to come: what is answered may be kept."""
    return Change(_STILL_AWAITED, {"id": grading.id, "version": grading.version})


def finish(grading: Grading, version: int, event: Event) -> Change:
    """The grading with what came of it, provided that nobody finished it first, and that no result comes after an erasure
    was asked for."""
    return Change(
        _FINISH,
        {
            "id": grading.id,
            "version": version,
            "status": grading.status,
            "result": grading.result.model_dump_json() if grading.result else None,
            "refusal": grading.refusal.model_dump_json() if grading.refusal else None,
            "at": grading.updated_at,
        },
        events=(event,),
    )


def find(db: Session, grading_id: UUID) -> Grading | None:
    row = db.one(f"SELECT {_GRADING} FROM gradings WHERE id = :id", id=grading_id)
    return _grading(row) if row else None


def find_queued(db: Session, grading_id: UUID) -> Queued | None:
    """The grading, if it waits to be graded."""
    row = db.one(
        f"SELECT {_GRADING}, partner_id, attempts FROM gradings WHERE id = :id AND status = 'queued'", id=grading_id
    )
    return Queued(row[11], _grading(row), row[12]) if row else None


def count_attempt(db: Session, grading_id: UUID) -> None:
    """That its image is about to be read. It is no version of the grading: nobody is told of it."""
    db.run("UPDATE gradings SET attempts = attempts + 1 WHERE id = :id AND status = 'queued'", id=grading_id)


def page(db: Session, trade_id: UUID | None, limit: int, after: UUID | None) -> list[Grading]:
    """The `limit` newest gradings older than `after`, of a trade if one is named."""
    rows = db.run(
        f"""SELECT {_GRADING} FROM gradings
            WHERE (:trade_id::uuid IS NULL OR trade_id = :trade_id::uuid) AND (:after::uuid IS NULL OR id < :after::uuid)
            ORDER BY id DESC LIMIT :limit""",
        trade_id=trade_id,
        after=after,
        limit=limit,
    )
    return [_grading(row) for row in rows]


def overdue(db: Session, before: datetime, limit: int) -> list[UUID]:
    """At most `limit` gradings that have been queued since `before`, those waiting longest first."""
    rows = db.run(
        "SELECT id FROM gradings WHERE status = 'queued' AND updated_at < :before ORDER BY updated_at, id LIMIT :limit",
        before=before,
        limit=limit,
    )
    return [row[0] for row in rows]


def reading(db: Session, image_sha256: str, model_sha256: str, policy: str) -> Reading | Refusal | None:
    """What this image was read to say by this model under this policy, if it was."""
    row = db.one(
        """SELECT reading, refusal FROM image_readings
           WHERE image_sha256 = :image AND model_sha256 = :model AND policy = :policy""",
        image=image_sha256,
        model=model_sha256,
        policy=policy,
    )
    if row is None:
        return None
    return Refusal.model_validate(row[1]) if row[0] is None else Reading.model_validate(row[0])


def remember(
    db: Session, image_sha256: str, model_sha256: str, policy: str, found: Reading | Refusal, at: datetime
) -> None:
    """Keep what an image was read to say; the first stays."""
    db.run(
        """INSERT INTO image_readings (image_sha256, model_sha256, policy, reading, refusal, created_at)
           VALUES (:image, :model, :policy, :reading, :refusal, :at) ON CONFLICT DO NOTHING""",
        image=image_sha256,
        model=model_sha256,
        policy=policy,
        reading=found.model_dump_json() if isinstance(found, Reading) else None,
        refusal=found.model_dump_json() if isinstance(found, Refusal) else None,
        at=at,
    )


def is_registered(db: Session, partner_id: UUID) -> bool:
    return db.one("SELECT FROM partners WHERE id = :id", id=partner_id) is not None


def trade_status(db: Session, trade_id: UUID, partner_id: UUID) -> TradeStatus | None:
    """How far that trade has come, if the partner sells or buys in it."""
    row = db.one(_STATUS, trade_id=trade_id, partner_id=partner_id)
    return row[0] if row else None


def _grading(row: Row) -> Grading:
    return Grading.model_validate(
        {
            "id": row[0],
            "version": row[1],
            "kind": row[2],
            "status": row[3],
            "trade_id": row[4],
            "image": row[5],
            "provisional": row[6],
            "result": row[7],
            "refusal": row[8],
            "created_at": row[9],
            "updated_at": row[10],
        }
    )
