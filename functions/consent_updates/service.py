"""Use cases of consent: decide, read where each purpose stands, now and at a past moment, acknowledge dispatches."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from kapas.errors import Conflict, FieldError, Forbidden, Invalid, NotFound
from kapas.http.app import Outcome, require
from kapas.http.identity import Identity, Role
from kapas.messaging.events import Event
from kapas.platform.db import Session
from kapas.platform.ports import Signer
from kapas.privacy import restrictions, signing
from kapas.privacy.keys import Keyring
from kapas.schemas.access import ConsentsAccessed
from kapas.schemas.common import PageQuery, cursor
from kapas.values import clock, ids

from . import dispatch_store, ledger, lifecycle, receipts, records, store
from .ledger import Entry, Head
from .notices import Notices, Version
from .processors import Processor
from .schemas import (
    PURPOSES,
    ConsentDecide,
    ConsentDispatchPage,
    ConsentHistory,
    ConsentNotice,
    ConsentOutcome,
    ConsentReceipt,
    ConsentsDecide,
    ConsentsDecided,
    ConsentState,
    ConsentStates,
    Decision,
    DispatchQuery,
    Language,
    Purpose,
    ReceiptKeys,
    Refusal,
)


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What deciding needs besides the database: keys to seal and to sign with, and the published data."""

    keyring: Keyring
    signer: Signer
    notices: Notices
    processors: Sequence[Processor]


# Notices


def current_notice(notices: Notices, language: Language) -> ConsentNotice:
    """The notice to show now. Raises `NotFound` before the first was published, and in a language that it is not in."""
    name = notices.current(clock.now())
    if name is None:
        raise NotFound("No notice is in force yet")
    return _in(notices.versions[name], language)


def notice(notices: Notices, name: str, language: Language) -> ConsentNotice:
    """A notice that is or was shown. Raises `NotFound` otherwise, and in a language that it is not in."""
    version = notices.find(name, clock.now())
    if version is None:
        raise NotFound("There is no notice with this version; GET /v1/consent-notices/current has the current one")
    return _in(version, language)


def _in(version: Version, language: Language) -> ConsentNotice:
    found = version.notices.get(language)
    if found is None:
        raise NotFound(f"The notice is not published in this language, only in {', '.join(version.notices)}")
    return found


# Decisions


def decide(db: Session, dependencies: Dependencies, caller: Identity, body: ConsentsDecide) -> Outcome:
    """Record what a partner decided: its owner, or, what it said elsewhere, the data protection officer. To be called in a
    transaction: it locks the ledger's head.

    Each decision is judged on its own. Those that can be recorded are recorded together, as consecutive records under one
    receipt; the answer says of each what became of it.

    Raises:
        Forbidden: the caller is neither the owner of the partner nor the data protection officer; or is that officer and
            something would be granted.
        Invalid: not one of the decisions can be recorded, and its errors say of each why; or the officer does not name the
            partner, or does not say how it said it.
        Conflict: the partner is not registered, or was erased: there is no key to seal with; or it is being erased and
            something would be granted.
        Unavailable: the key service does not answer, so nothing can be sealed or signed.
    """
    subject_id = subject(caller, body.partner_id, "/partner_id")
    if caller.role not in (Role.OWNER, Role.DPO):
        raise Forbidden("Only the owner of a partner may decide on its consents")
    if caller.role is Role.DPO:
        _require_no(body)
    if any(one.decision == "granted" for one in body.decisions):
        restrictions.refuse(db, subject_id)
    head = _lock(db, subject_id)
    # The ledger's time does not run backwards, whichever instance's clock is behind.
    at = max(clock.now(), head.updated_at)
    last: dict[Purpose, Decision] = {entry.purpose: entry.state for entry in store.latest(db, head.subject_id)}
    refusals: list[Refusal | None] = [
        lifecycle.refusal(dependencies.notices, one, last.get(one.purpose), at) for one in body.decisions
    ]
    accepted = [one for one, refusal in zip(body.decisions, refusals, strict=True) if refusal is None]
    if not accepted:
        errors = [_error(n, refusal) for n, refusal in enumerate(refusals) if refusal is not None]
        raise Invalid("None of the decisions could be recorded; see errors", errors=errors)

    entries = records.seal(db, dependencies.keyring, dependencies.notices, head, caller, accepted, at)
    kept, receipt = records.sign(dependencies.signer, entries)
    notified = store.notified_purposes(db, head.subject_id)
    ended = [
        entry
        for entry in entries
        if entry.purpose not in notified and lifecycle.ends_processing(entry.state, last.get(entry.purpose))
    ]
    dispatches = [
        dispatch for entry in ended for dispatch in records.dispatches(entry, dependencies.processors, "decision", at)
    ]
    events = tuple(records.event(entry) for entry in entries)
    recorded = {entry.purpose: entry for entry in entries}
    decided = ConsentsDecided(
        decision_id=kept.decision_id,
        version=entries[-1].sequence,
        decided_at=at,
        outcomes=[
            _outcome(one, recorded.get(one.purpose), refusal)
            for one, refusal in zip(body.decisions, refusals, strict=True)
        ],
        receipt=receipt,
    )
    return Outcome(store.append(head, entries, kept, dispatches, events), decided, decided.version)


def _require_no(body: ConsentsDecide) -> None:
    """What the data protection officer may record: a no, and where it comes from."""
    if any(one.decision == "granted" for one in body.decisions):
        raise Forbidden(
            "Only the owner of a partner may grant consent. The data protection officer records refusals and withdrawals"
        )
    message = "State how the partner communicated the decision"
    errors = [
        FieldError(f"/decisions/{n}/comment", "missing", message)
        for n, one in enumerate(body.decisions)
        if one.comment is None
    ]
    if errors:
        raise Invalid(message, errors=errors)


def _lock(db: Session, subject_id: UUID) -> Head:
    ledger_id = ids.uuid7()
    return store.lock(db, Head(ledger_id, subject_id, 0, ledger.genesis(ledger_id, subject_id), clock.now()))


def _outcome(decide: ConsentDecide, entry: Entry | None, refusal: Refusal | None) -> ConsentOutcome:
    return ConsentOutcome(
        purpose=decide.purpose,
        decision=decide.decision,
        outcome="refused" if entry is None else "recorded",
        record_id=entry.id if entry else None,
        sequence=entry.sequence if entry else None,
        code=refusal,
        message=lifecycle.REFUSED[refusal][1] if refusal else None,
    )


def _error(number: int, refusal: Refusal) -> FieldError:
    member, message = lifecycle.REFUSED[refusal]
    return FieldError(f"/decisions/{number}/{member}", refusal, message)


# Reading


def subject(caller: Identity, requested_id: UUID | None, pointer: str = "query:partner_id") -> UUID:
    """Whose consents it is about: the caller's own, or, for the data protection officer, the partner's that is named.

    Raises:
        Forbidden: the caller acts for no partner, or for another one than it names.
        Invalid: the officer names none.
    """
    if caller.role is Role.DPO:
        if requested_id is None:
            message = "Name the partner in partner_id"
            raise Invalid(message, errors=[FieldError(pointer, "missing", message)])
        return requested_id
    if caller.partner_id is None or not caller.role.of_partner or requested_id not in (None, caller.partner_id):
        raise Forbidden("Only the partner's users and the data protection officer may read its consents")
    return caller.partner_id


def access(caller: Identity, subject_id: UUID, field: str) -> Event:
    """What the audit trail is told of a reading."""
    fields = [f"consents.{field}"]
    data = ConsentsAccessed(actor=caller.subject, actor_role=caller.role, partner_id=subject_id, fields=fields)
    return Event(ids.uuid7(), 1, data, (subject_id,))


def current(db: Session, subject_id: UUID) -> ConsentStates:
    """Where each purpose of a partner stands now."""
    return _states(store.latest(db, subject_id), clock.now(), store.restricted_at(db, subject_id))


def as_of(db: Session, subject_id: UUID, at: datetime) -> ConsentStates:
    """Where each purpose stood at a past moment (DPDP Act s.6(10)). Raises `Invalid` if it is still to come."""
    if at > clock.now():
        message = "Future consents are unknown; send a time in the past"
        raise Invalid(message, errors=[FieldError("query:at", "future", message)])
    return _states(store.latest_at(db, subject_id, at), at, store.restricted_at(db, subject_id))


def history(db: Session, keyring: Keyring, subject_id: UUID, query: PageQuery) -> ConsentHistory:
    """The records of a partner, newest first."""
    entries = store.page(db, subject_id, query.limit + 1, query.after_id())
    more = len(entries) > query.limit
    data = records.opened(db, keyring, entries[: query.limit])
    return ConsentHistory(data=data, has_more=more, next=cursor(data[-1].record_id) if more else None)


def receipt(db: Session, subject_id: UUID, decision_id: UUID) -> ConsentReceipt:
    """The receipt of a decision, as it was first answered. Raises `NotFound` if it is another's, or none."""
    found = store.receipt(db, subject_id, decision_id)
    if found is None:
        raise NotFound("Decision not found; a partner sees its own only")
    kept, entries = found
    signed = receipts.signing_input(entries, kept.key_id)
    return ConsentReceipt(decision_id=decision_id, receipt=receipts.compose(signed, kept.signature))


def receipt_keys(db: Session) -> ReceiptKeys:
    """The public keys of all receipts, oldest first."""
    return ReceiptKeys(keys=[signing.jwk(public_key) for public_key in store.public_keys(db)])


def _states(entries: Sequence[Entry], at: datetime, restricted_at: datetime | None) -> ConsentStates:
    last = {entry.purpose: entry for entry in entries}
    free = restricted_at is None or at < restricted_at
    states: list[ConsentState] = []
    for purpose in PURPOSES:
        entry = last.get(purpose)
        states.append(
            ConsentState(
                purpose=purpose,
                state=entry.state if entry else "not_decided",
                in_force=free and entry is not None and entry.valid_until is not None and at < entry.valid_until,
                record_id=entry.id if entry else None,
                sequence=entry.sequence if entry else None,
                notice=entry.notice if entry else None,
                decided_at=entry.decided_at if entry else None,
                valid_until=entry.valid_until if entry else None,
            )
        )
    return ConsentStates(version=max((entry.sequence for entry in entries), default=0), at=at, data=states)


# Dispatches


def list_dispatches(db: Session, caller: Identity, query: DispatchQuery) -> ConsentDispatchPage:
    """Dispatches of every partner, the earliest due first. Raises `Forbidden` unless the caller is of the staff."""
    _require_staff(caller)
    return ConsentDispatchPage.of(dispatch_store.page(db, query, clock.now(), query.limit + 1), query.limit)


def acknowledge(db: Session, caller: Identity, dispatch_id: UUID) -> Outcome:
    """Record that a processor has stopped.

    Raises:
        Forbidden: the caller is neither the data protection officer nor of operations.
        NotFound: there is no such dispatch.
        Conflict: it is acknowledged already, or the partner has consented again.
    """
    _require_staff(caller)
    dispatch = dispatch_store.find(db, dispatch_id)
    if dispatch is None:
        raise NotFound("Dispatch not found")
    if dispatch.status == "acknowledged":
        raise Conflict("The dispatch is already acknowledged")
    if dispatch.status == "superseded":
        raise Conflict("The partner has consented again; this processor need not stop")
    after = dispatch.model_copy(
        update={
            "version": dispatch.version + 1,
            "status": "acknowledged",
            "acknowledged_at": clock.now(),
            "acknowledged_by": caller.subject,
        }
    )
    return Outcome(dispatch_store.acknowledge(after), after, after.version)


def _require_staff(caller: Identity) -> None:
    require(caller.role in (Role.DPO, Role.OPS), "Only the data protection officer and operations may read dispatches")
