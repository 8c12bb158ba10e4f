"""Use cases of onboarding: register a partner, read it, change it, have it checked."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast
from uuid import UUID

from pydantic import ValidationError

from kapas.errors import Conflict, FieldError, Forbidden, Invalid, NotFound, PreconditionFailed
from kapas.http.app import Outcome, require
from kapas.http.identity import Identity, Role
from kapas.messaging import outbox
from kapas.messaging.events import Event
from kapas.messaging.outbox import Change
from kapas.platform.db import Session
from kapas.privacy import restrictions
from kapas.privacy.key_store import SqlKeyStore
from kapas.privacy.keys import Keyring, Shredded
from kapas.schemas.access import DataAccessed
from kapas.values import clock, ids

from . import document_store, lifecycle, store
from .event_models import (
    PartnerChanged,
    PartnerCreated,
    PartnerEvent,
    PartnerRequirementsDue,
    PartnerSubmitted,
)
from .profile import identifiers, profiles, requirements
from .records import Account, Stored
from .review_schemas import PartnerDecision
from .schemas import (
    CheckKind,
    Disabled,
    Identifiers,
    Partner,
    PartnerChange,
    PartnerCreate,
    PartnerPage,
    PartnerProfile,
    PartnerQuery,
    PartnerSummary,
    Submit,
)

READ_FIELDS = ["legal_name", "contact", "identifiers", "address", "bank_account", "beneficial_owners"]


def register(db: Session, keyring: Keyring, caller: Identity, body: PartnerCreate) -> Outcome:
    """Register the partner that the caller's token names. To be called in a transaction: it writes the partner's key.

    Raises:
        Forbidden: the caller is not the owner of a partner.
        Invalid: an identifier is malformed.
        Conflict: when committed, if the partner, its PAN, GSTIN or bank account is registered already.
    """
    partner_id = caller.partner_id
    if partner_id is None or caller.role is not Role.OWNER:
        raise Forbidden("Only the owner of a partner may register it")
    profile = PartnerProfile.model_validate(body.model_dump(exclude={"type", "constitution"}))
    _check(profile)
    now = clock.now()
    account = Account(
        id=partner_id,
        version=1,
        status="created",
        type=body.type,
        constitution=body.constitution,
        submission=0,
        clarifications=(),
        due_at=now + requirements.table().registration,
        created_at=now,
        updated_at=now,
    )
    keys = SqlKeyStore(db)
    sealed = profiles.seal(keyring.create_subject(keys, partner_id), partner_id, profile)
    columns = {**sealed, **profiles.indexes(keyring, keys, profile), **profiles.states(profile)}
    created = PartnerCreated(partner_id=partner_id, partner_type=body.type)
    partner = profiles.show(account, profile, [], [], now)
    return Outcome(store.insert(account, columns, event(account, created)), partner, 1)


def read(db: Session, keyring: Keyring, partner_id: UUID) -> Partner:
    """One partner that the session may see. Raises `NotFound` otherwise."""
    stored = find(db, partner_id)
    return _show(db, stored.account, open_profile(db, keyring, stored))


def access(caller: Identity, partner_id: UUID, fields: Sequence[str]) -> Event:
    """What the audit trail is told of a reading."""
    data = DataAccessed(actor=caller.subject, actor_role=caller.role, partner_id=partner_id, fields=list(fields))
    return Event(ids.uuid7(), 1, data, (partner_id,))


def list_page(db: Session, query: PartnerQuery) -> PartnerPage:
    """Partners that the session may see and that fit the query, newest first."""
    return PartnerPage.of(store.page(db, query, clock.now(), query.limit + 1), query.limit)


def change(
    db: Session, keyring: Keyring, caller: Identity, partner_id: UUID, version: int, body: PartnerChange
) -> Outcome:
    """Change what a partner tells of itself; once it was admitted, what was not checked. What is so already is no change.

    Raises:
        Forbidden: the caller is not the partner's owner.
        NotFound, PreconditionFailed: as for every change.
        Conflict: the details are being checked, or what changes was checked; or when committed, as for registering.
        Invalid: what results is not valid.
    """
    stored = _own(db, caller, partner_id, version)
    account = stored.account
    if account.status not in (*lifecycle.CHANGEABLE, *lifecycle.CORRECTABLE):
        raise Conflict(
            f"A partner that is {account.status} cannot change its details. All can be changed in the status"
            f" {', '.join(lifecycle.CHANGEABLE)}, some in {', '.join(lifecycle.CORRECTABLE)}"
        )
    before = open_profile(db, keyring, stored)
    profile = _merge(before, body)
    changed = _changed(before, profile)
    if not changed:
        return Outcome(outbox.unchanged(), _show(db, account, profile), version)
    fixed = _fixed(before, profile, changed)
    if fixed and account.status in lifecycle.CORRECTABLE:
        raise Conflict(
            f"Checked details cannot be changed here: {', '.join(fixed)}. The contact, and the address within its state,"
            " can. For other changes, operations staff suspends the partner and requests them"
        )
    _check(profile)
    unanswered = requirements.unanswered(account.clarifications, changed)
    after = replace(account, version=version + 1, clarifications=tuple(unanswered), updated_at=clock.now())
    keys = SqlKeyStore(db)
    columns = {
        **profiles.reseal(keyring, keys, partner_id, profile),
        **profiles.indexes(keyring, keys, profile),
        **profiles.states(profile),
    }
    data = PartnerChanged(partner_id=partner_id, partner_type=account.type, fields=changed)
    return Outcome(store.change(after, columns, event(after, data)), _show(db, after, profile), after.version)


def submit(db: Session, keyring: Keyring, caller: Identity, partner_id: UUID, version: int, body: Submit) -> Outcome:
    """Have a partner checked; where something is due or wrong, it is `requirements_due` instead.

    Raises:
        Invalid: what is confirmed is not asked about.
        Forbidden: the caller is not the partner's owner.
        NotFound, PreconditionFailed: as for every change.
        Conflict: it is submitted already, or decided on.
    """
    stored = _own(db, caller, partner_id, version)
    account, profile = stored.account, open_profile(db, keyring, stored)
    step = lifecycle.step("submit", account.status)
    now = clock.now()
    unconfirmed = requirements.confirmed(account.clarifications, body.confirmed)
    confirmed = replace(account, clarifications=unconfirmed)
    fields = requirements.unmet(
        requirements.compute(confirmed, profile, document_store.list_all(db, partner_id), [], now)
    )
    if fields:
        step = lifecycle.step("submit_incomplete", account.status)
        after = replace(account, version=version + 1, status=step.target, updated_at=now)
        due = PartnerRequirementsDue(partner_id=partner_id, partner_type=account.type, fields=fields)
        return Outcome(store.move(after, event(after, due)), _show(db, after, profile), after.version)
    after, change = submission(account, profile, "submit", confirmed=body.confirmed)
    shown = profiles.show(after, profile, document_store.list_all(db, partner_id), requirements.checks(profile), now)
    return Outcome(change, shown, after.version)


# What the other use cases share


def find(db: Session, partner_id: UUID, version: int | None = None) -> Stored:
    """A partner that the session may see.

    Raises:
        NotFound: there is none.
        PreconditionFailed: it is not at `version`.
    """
    stored = store.find(db, partner_id)
    if stored is None:
        raise NotFound("Partner not found; a partner sees only itself")
    if version is not None and stored.account.version != version:
        raise PreconditionFailed(f"The partner is now at version {stored.account.version}")
    return stored


def open_profile(db: Session, keyring: Keyring, stored: Stored) -> PartnerProfile:
    """What the partner told. Raises `NotFound` once its data is erased."""
    try:
        return profiles.open_profile(keyring, SqlKeyStore(db), stored)
    except Shredded:
        raise NotFound("The data of this partner has been erased") from None


def event(account: Account, data: PartnerEvent) -> Event:
    """The event of the change that leads to `account`."""
    return Event(account.id, account.version, data, (account.id,), time=account.updated_at)


def submission(
    account: Account,
    profile: PartnerProfile,
    name: str,
    *,
    confirmed: Sequence[str] = (),
    decision: PartnerDecision | None = None,
) -> tuple[Account, Change]:
    """The step `name` that begins a submission, and the partner after it. Its checks run once its event arrives."""
    step = lifecycle.step(name, account.status)
    after = replace(
        account,
        version=account.version + 1,
        status=step.target,
        submission=account.submission + 1,
        clarifications=(),
        due_at=None,
        updated_at=clock.now(),
    )
    data = PartnerSubmitted(
        partner_id=account.id, partner_type=account.type, submission=after.submission, confirmed=list(confirmed)
    )
    checks: dict[CheckKind, UUID] = {kind: ids.uuid7() for kind in requirements.checks(profile)}
    return after, store.move(after, event(after, data), checks=checks, decision=decision)


def summary(account: Account) -> PartnerSummary:
    """The partner without what is encrypted."""
    return PartnerSummary(
        id=account.id,
        version=account.version,
        status=account.status,
        type=account.type,
        constitution=account.constitution,
        created_at=account.created_at,
        updated_at=account.updated_at,
    )


def _own(db: Session, caller: Identity, partner_id: UUID, version: int) -> Stored:
    """The caller's own partner, to be changed."""
    stored = find(db, partner_id, version)
    require(caller.role is Role.OWNER and caller.partner_id == partner_id, "Only the owner of a partner may change it")
    restrictions.refuse(db, partner_id)
    return stored


def _show(db: Session, account: Account, profile: PartnerProfile) -> Partner:
    pending: list[CheckKind] = []
    if account.status in ("submitted", "verifying"):
        pending = [check.kind for check in store.checks(db, account.id, account.submission) if check.result is None]
    documents, disabled = document_store.list_all(db, account.id), _disabled(db, account)
    return profiles.show(account, profile, documents, pending, clock.now(), disabled)


def _disabled(db: Session, account: Account) -> Disabled | None:
    if account.status not in ("suspended", "rejected"):
        return None
    for decision in store.decisions(db, account.id):
        if decision.action in ("suspend", "reject") and decision.reason_code is not None:
            message, mend = requirements.explain(decision.reason_code, "platform_decision")
            return Disabled(
                reason_code=decision.reason_code, message=message, how_to_mend=mend, since=decision.decided_at
            )
    return None


def _check(profile: PartnerProfile) -> None:
    faults = identifiers.faults(profile)
    if faults:
        raise Invalid(f"{len(faults)} field{'s are' if len(faults) > 1 else ' is'} not valid", errors=faults)


def _merge(before: PartnerProfile, body: PartnerChange) -> PartnerProfile:
    """The profile after a merge patch (RFC 7396) of it."""
    try:
        return PartnerProfile.model_validate(_patched(before.model_dump(), body.model_dump(exclude_unset=True)))
    except ValidationError as error:
        faults = [
            FieldError("".join(f"/{part}" for part in fault["loc"]), fault["type"], fault["msg"])
            for fault in error.errors(include_input=False, include_url=False, include_context=False)
        ]
        raise Invalid("The change would make the partner invalid; see errors", errors=faults) from None


def _patched(target: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """RFC 7396 section 2, for the objects of a partner."""
    merged = dict(target)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, Mapping):
            merged[name] = _patched(merged.get(name) or {}, cast(Mapping[str, Any], value))
        else:
            merged[name] = value
    return merged


def _changed(before: PartnerProfile, after: PartnerProfile) -> list[str]:
    """The fields whose values differ, as paths: `identifiers.gstin`."""
    changed = [name for name in PartnerProfile.model_fields if getattr(before, name) != getattr(after, name)]
    paths = [name for name in changed if name != "identifiers"]
    if "identifiers" in changed:
        one, other = before.identifiers, after.identifiers
        paths += [
            f"identifiers.{name}" for name in Identifiers.model_fields if getattr(one, name) != getattr(other, name)
        ]
    return sorted(paths)


def _fixed(before: PartnerProfile, after: PartnerProfile, changed: Sequence[str]) -> list[str]:
    """Which of the changes bear on who the partner is: on what it was checked for, and the state it is registered in."""
    one, other = before.address, after.address
    moved = (one and one.state_code) != (other and other.state_code)
    return [
        *(name for name in changed if name not in ("address", "contact")),
        *(["address.state_code"] if moved else []),
    ]
