"""Partners in SQL. What identifies a person is stored encrypted; row level security decides which rows a session sees."""

from dataclasses import asdict, dataclass
from uuid import UUID

from kapas.db import Row, Session
from kapas.db.key_store import SqlKeyStore
from kapas.errors import Conflict
from kapas.events import Event
from kapas.keys import Field, Keyring, SubjectCipher
from kapas.outbox import Change
from kapas.schemas.partners import Partner, PartnerSummary

_PLAIN = "id, version, status, type, state_code, created_at, updated_at"
_SECRET = ("legal_name", "contact_name", "phone", "pan")

_INSERT = """INSERT INTO partners (id, version, status, type, state_code, legal_name, contact_name, phone, pan, pan_index,
    created_at, updated_at)
  VALUES (:id, 1, :status, :type, :state_code, :legal_name, :contact_name, :phone, :pan, :pan_index, :at, :at)
  RETURNING id"""

_SET_STATUS = """UPDATE partners SET version = version + 1, status = :status, updated_at = :at
  WHERE id = :id AND version = :version RETURNING id"""


@dataclass(frozen=True, slots=True)
class Secrets:
    """What is kept encrypted of a partner."""

    legal_name: str
    contact_name: str
    phone: str
    pan: str


def seal(cipher: SubjectCipher, partner_id: UUID, secrets: Secrets) -> dict[str, bytes]:
    """Column -> ciphertext."""
    return {name: cipher.encrypt(Field("partners", name, partner_id), value) for name, value in asdict(secrets).items()}


def insert(partner: Partner, sealed: dict[str, bytes], pan_index: bytes, event: Event) -> Change:
    return Change(
        _INSERT,
        {
            "id": partner.id,
            "status": partner.status,
            "type": partner.type,
            "state_code": partner.state_code,
            **sealed,
            "pan_index": pan_index,
            "at": partner.created_at,
        },
        events=(event,),
        conflicts={
            "partners_pkey": Conflict("This partner is registered already"),
            "partners_pan": Conflict("A partner with this PAN is registered already"),
        },
    )


def set_status(partner: Partner, version: int, event: Event) -> Change:
    """The partner's new status, provided that it still is at `version`."""
    parameters = {"id": partner.id, "status": partner.status, "version": version, "at": partner.updated_at}
    return Change(_SET_STATUS, parameters, events=(event,))


def find(db: Session, keyring: Keyring, partner_id: UUID) -> Partner | None:
    row = db.one(f"SELECT {_PLAIN}, {', '.join(_SECRET)} FROM partners WHERE id = :id", id=partner_id)
    return _partner(row, keyring, SqlKeyStore(db)) if row else None


def page(db: Session, limit: int, after: UUID | None) -> list[PartnerSummary]:
    """The `limit` newest partners older than `after`."""
    rows = db.run(
        f"SELECT {_PLAIN} FROM partners WHERE :after::uuid IS NULL OR id < :after::uuid ORDER BY id DESC LIMIT :limit",
        after=after,
        limit=limit,
    )
    return [
        PartnerSummary(id=r[0], version=r[1], status=r[2], type=r[3], state_code=r[4], created_at=r[5]) for r in rows
    ]


def _partner(row: Row, keyring: Keyring, keys: SqlKeyStore) -> Partner:
    fields = {Field("partners", name, row[0]): bytes(value) for name, value in zip(_SECRET, row[7:], strict=True)}
    opened = {field.column: value.decode() for field, value in keyring.decrypt_many(keys, row[0], fields).items()}
    return Partner(
        id=row[0],
        version=row[1],
        status=row[2],
        type=row[3],
        state_code=row[4],
        legal_name=opened["legal_name"],
        contact_name=opened["contact_name"],
        phone_ending=opened["phone"][-4:],
        pan_ending=opened["pan"][-4:],
        created_at=row[5],
        updated_at=row[6],
    )
