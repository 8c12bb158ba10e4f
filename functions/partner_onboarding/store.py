"""Partners in SQL. What identifies a person is stored encrypted; row level security decides which rows a session sees."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from kapas.errors import Conflict
from kapas.messaging.events import Event
from kapas.messaging.outbox import Change
from kapas.platform.db import Row, Session
from kapas.privacy.restrictions import UNRESTRICTED
from kapas.values import clock

from .records import Account, Check, OpenClarification, Stored, Verdict
from .review_schemas import PartnerDecision, RejectedAlike, Risk
from .schemas import CheckKind, PartnerQuery, PartnerSummary

SEALED = (
    "legal_name",
    "contact",
    "pan",
    "gstin",
    "udyam",
    "cin",
    "llpin",
    "iec",
    "fssai",
    "lei",
    "address",
    "bank_account",
    "beneficial_owners",
)
"""The encrypted columns."""
INDEXES = ("pan_index", "gstin_index", "bank_index")
"""The columns that duplicates are found by."""
STATES = ("state_code", "gstin_state")
"""GST state codes of the address and of the GSTIN, in clear: the tax of a trade follows from them."""
_INDEXED = ("identifiers.pan", "identifiers.gstin", "bank_account")

_ACCOUNT = (
    "id, version, status, type, constitution, submission, clarifications, due_at, created_at, updated_at"  # of Account
)
_CHECK = "id, kind, submission, attempts, result, explanation, provider, provider_reference, created_at, completed_at"
_COLUMNS = (*SEALED, *INDEXES, *STATES)

_INSERT = f"""INSERT INTO partners (id, version, status, type, constitution, submission, clarifications, due_at,
    created_at, updated_at, {", ".join(_COLUMNS)})
  VALUES (:id, 1, :status, :type, :constitution, 0, :clarifications, :due_at, :at, :at,
    {", ".join(f":{column}" for column in _COLUMNS)})
  RETURNING id"""

_CHANGE = f"""UPDATE partners SET version = version + 1, clarifications = :clarifications, updated_at = :at,
    {", ".join(f"{column} = :{column}" for column in _COLUMNS)}
  WHERE id = :id AND version = :version AND {UNRESTRICTED.format("partners.id")} RETURNING id"""

_MOVE = """UPDATE partners SET version = version + 1, status = :status, submission = :submission,
    clarifications = :clarifications, due_at = :due_at, updated_at = :at
  WHERE id = :id AND version = :version RETURNING id"""

_RECLASSIFY = """UPDATE partners SET version = version + 1, type = :type, constitution = :constitution, updated_at = :at
  WHERE id = :id AND version = :version RETURNING id"""

_ADD_CHECKS = """INSERT INTO partner_checks (id, partner_id, submission, kind, attempts, explanation, created_at)
  SELECT c.check_id, change.id, :submission, c.kind, 0, '{}', :at
  FROM change, unnest(:check_ids::uuid[], :check_kinds::text[]) AS c (check_id, kind)"""

_ADD_DECISION = """INSERT INTO partner_decisions
    (id, partner_id, action, reason_code, accepted_checks, clarifications, type, constitution, risk, decided_by, decided_at)
  SELECT :decision_id, change.id, :action, :reason_code, :accepted_checks::text[], :asked, :decided_type,
    :decided_constitution, :risk, :decided_by, :at
  FROM change"""

_CONFLICTS = {
    "partners_pkey": Conflict("This partner is already registered"),
    "partners_pan": Conflict("Another partner is already registered with this PAN"),
    "partners_gstin": Conflict("Another partner is already registered with this GSTIN"),
    "partners_bank": Conflict("Another partner is already registered with this bank account"),
}

# That it is asked for something, as `lifecycle.CHANGEABLE` says, and that its time is over.
_IS_OVERDUE = "status IN ('created', 'requirements_due', 'needs_clarification') AND due_at <= :now"
_IS_UNNOTIFIED = f"overdue_told IS DISTINCT FROM due_at AND {UNRESTRICTED.format('partners.id')}"

_MARK_NOTIFIED = f"""UPDATE partners SET version = version + 1, overdue_told = due_at, updated_at = :now
  WHERE id = :id AND version = :version AND {_IS_OVERDUE} AND {_IS_UNNOTIFIED} RETURNING id"""

# Changes


def insert(account: Account, columns: Mapping[str, bytes | str | None], event: Event) -> Change:
    """A new partner; `columns` are `SEALED`, `INDEXES` and `STATES`."""
    parameters = {**_moved(account), **columns, "type": account.type, "constitution": account.constitution}
    return Change(_INSERT, parameters, events=(event,), conflicts=_CONFLICTS)


def change(account: Account, columns: Mapping[str, bytes | str | None], event: Event) -> Change:
    """Other details, provided that the partner is at the version before `account`'s, and is not being erased."""
    return Change(_CHANGE, {**_moved(account), **columns}, events=(event,), conflicts=_CONFLICTS)


def move(
    account: Account,
    event: Event,
    *,
    checks: Mapping[CheckKind, UUID] | None = None,
    decision: PartnerDecision | None = None,
) -> Change:
    """Another state, provided that the partner still is at the version before `account`'s.

    `checks` begin with it, as kind -> id; `decision` is what led to it.
    """
    parameters, also = _moved(account), list[str]()
    if checks:
        also.append(_ADD_CHECKS)
        parameters |= {"check_ids": list(checks.values()), "check_kinds": list(checks)}
    if decision:
        also.append(_ADD_DECISION)
        parameters |= _decided(decision)
    return Change(_MOVE, parameters, events=(event,), also=tuple(also))


def reclassify(account: Account, event: Event, decision: PartnerDecision) -> Change:
    """Another type or constitution, provided that the partner still is at the version before `account`'s."""
    parameters = {
        "id": account.id,
        "version": account.version - 1,
        "type": account.type,
        "constitution": account.constitution,
        "at": account.updated_at,
        **_decided(decision),
    }
    return Change(_RECLASSIFY, parameters, events=(event,), also=(_ADD_DECISION,))


def mark_notified(account: Account, event: Event) -> Change:
    """The partner is notified of its passed deadline, once, provided that it is at the version before `account`'s."""
    parameters = {"id": account.id, "version": account.version - 1, "now": account.updated_at}
    return Change(_MARK_NOTIFIED, parameters, events=(event,))


def _decided(decision: PartnerDecision) -> dict[str, Any]:
    return {
        "decision_id": decision.id,
        "action": decision.action,
        "reason_code": decision.reason_code,
        "accepted_checks": list(decision.accepted_checks),
        "asked": json.dumps([one.model_dump() for one in decision.clarifications]),
        "decided_type": decision.type,
        "decided_constitution": decision.constitution,
        "risk": decision.risk.model_dump_json(),
        "decided_by": decision.decided_by,
    }


def _moved(account: Account) -> dict[str, Any]:
    return {
        "id": account.id,
        "version": account.version - 1,
        "status": account.status,
        "submission": account.submission,
        "clarifications": json.dumps(
            [
                {"field": one.field, "reason_code": one.reason_code, "asked_at": clock.rfc3339(one.asked_at)}
                for one in account.clarifications
            ]
        ),
        "due_at": account.due_at,
        "at": account.updated_at,
    }


# Reading


def find(db: Session, partner_id: UUID) -> Stored | None:
    row = db.one(f"SELECT {_ACCOUNT}, {', '.join(SEALED)} FROM partners WHERE id = :id", id=partner_id)
    return _stored(row) if row else None


def lock(db: Session, partner_id: UUID) -> Account | None:
    """The partner, which nobody changes until the transaction ends."""
    row = db.one(f"SELECT {_ACCOUNT} FROM partners WHERE id = :id FOR UPDATE", id=partner_id)
    return _account(row) if row else None


def overdue(db: Session, before: datetime, limit: int) -> list[Account]:
    """At most `limit` partners whose checks should have ended `before`, those waiting longest first."""
    rows = db.run(
        f"""SELECT {_ACCOUNT} FROM partners
            WHERE status IN ('submitted', 'verifying') AND updated_at < :before AND {UNRESTRICTED.format("partners.id")}
            ORDER BY updated_at, id LIMIT :limit""",
        before=before,
        limit=limit,
    )
    return [_account(row) for row in rows]


def overdue_unnotified(db: Session, now: datetime, limit: int) -> list[Account]:
    """At most `limit` partners whose deadline has passed and that are not notified, the longest overdue first."""
    rows = db.run(
        f"SELECT {_ACCOUNT} FROM partners WHERE {_IS_OVERDUE} AND {_IS_UNNOTIFIED} ORDER BY due_at, id LIMIT :limit",
        now=now,
        limit=limit,
    )
    return [_account(row) for row in rows]


def page(db: Session, query: PartnerQuery, now: datetime, limit: int) -> list[PartnerSummary]:
    """The `limit` newest partners that fit the query."""
    rows = db.run(
        f"""SELECT id, version, status, type, constitution, created_at, updated_at FROM partners
           WHERE (:after::uuid IS NULL OR id < :after::uuid) AND (:status::text IS NULL OR status = :status::text)
             AND (:type::text IS NULL OR type = :type::text)
             AND (NOT :overdue::boolean OR ({_IS_OVERDUE}))
           ORDER BY id DESC LIMIT :limit""",
        after=query.after_id(),
        status=query.status,
        type=query.type,
        overdue=query.overdue,
        now=now,
        limit=limit,
    )
    return [
        PartnerSummary(
            id=r[0], version=r[1], status=r[2], type=r[3], constitution=r[4], created_at=r[5], updated_at=r[6]
        )
        for r in rows
    ]


def checks(db: Session, partner_id: UUID, submission: int) -> list[Check]:
    """The checks of one submission, by kind."""
    rows = db.run(
        f"SELECT {_CHECK} FROM partner_checks WHERE partner_id = :id AND submission = :submission ORDER BY kind",
        id=partner_id,
        submission=submission,
    )
    return [_check(row) for row in rows]


def evidence(db: Session, partner_id: UUID, submission: int) -> list[tuple[CheckKind, UUID, bytes]]:
    """What the providers answered in one submission: the kind of each check, its id and the ciphertext."""
    rows = db.run(
        """SELECT kind, id, evidence FROM partner_checks
           WHERE partner_id = :id AND submission = :submission AND evidence IS NOT NULL ORDER BY kind""",
        id=partner_id,
        submission=submission,
    )
    return [(row[0], row[1], bytes(row[2])) for row in rows]


def decisions(db: Session, partner_id: UUID) -> list[PartnerDecision]:
    """What was decided, newest first."""
    rows = db.run(
        """SELECT id, action, reason_code, accepted_checks, clarifications, type, constitution, risk, decided_by, decided_at
           FROM partner_decisions WHERE partner_id = :id ORDER BY id DESC""",
        id=partner_id,
    )
    return [
        PartnerDecision(
            id=r[0],
            action=r[1],
            reason_code=r[2],
            accepted_checks=r[3],
            clarifications=r[4],
            type=r[5],
            constitution=r[6],
            risk=Risk.model_validate(r[7]),
            decided_by=r[8],
            decided_at=r[9],
        )
        for r in rows
    ]


def rejected_alike(db: Session, partner_id: UUID) -> list[RejectedAlike]:
    """Who was rejected with the same PAN, GSTIN or bank account, the first registered first."""
    rows = db.run(
        """SELECT other.id, other.pan_index = p.pan_index, other.gstin_index = p.gstin_index,
             other.bank_index = p.bank_index
           FROM partners p JOIN partners other ON other.status = 'rejected' AND other.id <> p.id
             AND (other.pan_index = p.pan_index OR other.gstin_index = p.gstin_index OR other.bank_index = p.bank_index)
           WHERE p.id = :id ORDER BY other.id""",
        id=partner_id,
    )
    return [
        RejectedAlike(partner_id=other, same=[name for name, alike in zip(_INDEXED, same, strict=True) if alike])
        for other, *same in rows
    ]


# Checks


def count_attempt(db: Session, check_id: UUID) -> int:
    """Note that a provider did not answer; how often it has not, or 0 if the check has a result meanwhile."""
    row = db.one(
        "UPDATE partner_checks SET attempts = attempts + 1 WHERE id = :id AND result IS NULL RETURNING attempts",
        id=check_id,
    )
    return row[0] if row else 0


def record(db: Session, check_id: UUID, verdict: Verdict, evidence: bytes | None, at: datetime) -> bool:
    """Write what a check came to, once; whether this was the first."""
    row = db.one(
        """UPDATE partner_checks SET result = :result, explanation = :explanation::text[], provider = :provider,
             provider_reference = :reference, evidence = :evidence, completed_at = :at
           WHERE id = :id AND result IS NULL RETURNING id""",
        id=check_id,
        result=verdict.result,
        explanation=list(verdict.explanation),
        provider=verdict.provider,
        reference=verdict.provider_reference,
        evidence=evidence,
        at=at,
    )
    return row is not None


def _account(row: Row) -> Account:
    clarifications = cast(Sequence[dict[str, str]], row[6])
    return Account(
        id=row[0],
        version=row[1],
        status=row[2],
        type=row[3],
        constitution=row[4],
        submission=row[5],
        clarifications=tuple(
            OpenClarification(one["field"], one["reason_code"], datetime.fromisoformat(one["asked_at"]))
            for one in clarifications
        ),
        due_at=row[7],
        created_at=row[8],
        updated_at=row[9],
    )


def _stored(row: Row) -> Stored:
    sealed = {name: bytes(value) for name, value in zip(SEALED, row[10:], strict=True) if value is not None}
    return Stored(_account(row), sealed)


def _check(row: Row) -> Check:
    return Check(
        id=row[0],
        kind=row[1],
        submission=row[2],
        attempts=row[3],
        result=row[4],
        explanation=tuple(row[5]),
        provider=row[6],
        provider_reference=row[7],
        created_at=row[8],
        completed_at=row[9],
    )
