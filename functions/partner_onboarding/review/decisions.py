"""What operations decides on a partner. Checks are evidence: none of them activates or rejects anybody."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import get_args
from uuid import UUID

from kapas.errors import Conflict, FieldError, Invalid
from kapas.http.app import Outcome, require
from kapas.http.identity import Identity, Role
from kapas.platform.db import Session
from kapas.privacy.keys import Keyring
from kapas.values import clock, ids

from .. import document_store, lifecycle, service, store
from ..event_models import PartnerChanged
from ..profile import requirements
from ..records import Account, Check
from ..review_schemas import (
    Activate,
    Clarification,
    ClarificationRequest,
    DecisionAction,
    PartnerDecision,
    Reason,
    Reclassify,
)
from ..schemas import CheckKind, DocumentKind, Identifiers, PartnerProfile
from . import risk

_MENDABLE = frozenset(
    {
        *(name for name in PartnerProfile.model_fields if name != "identifiers"),
        *(f"identifiers.{name}" for name in Identifiers.model_fields),
        *(f"documents.{kind}" for kind in get_args(DocumentKind)),
    }
)
"""What a partner can be asked about: each is mended by a change, a confirmation or an upload of just this."""


def activate(
    db: Session, keyring: Keyring, caller: Identity, partner_id: UUID, version: int, body: Activate
) -> Outcome:
    """Let a partner trade.

    Raises:
        Forbidden, NotFound, PreconditionFailed: as for every decision.
        Conflict: it is not under review, or a check is neither clear nor accepted.
        Invalid: checks are accepted without a reason.
    """
    if body.accepted_checks and body.reason_code is None:
        message = "Give a reason for accepting these checks"
        raise Invalid(message, errors=[FieldError("/reason_code", "missing", message)])
    case = _case(db, keyring, caller, partner_id, version, "activate")
    unsettled = [c.kind for c in case.checks if c.result != "clear" and c.kind not in body.accepted_checks]
    if unsettled:
        raise Conflict(f"Not clear: {', '.join(unsettled)}. Name them in accepted_checks, with a reason, or recheck")
    decision = case.decision(caller, reason_code=body.reason_code, accepted_checks=body.accepted_checks)
    return _move(case, decision)


def reinstate(db: Session, keyring: Keyring, caller: Identity, partner_id: UUID, version: int) -> Outcome:
    """Let a suspended partner trade again. Raises as every decision does."""
    case = _case(db, keyring, caller, partner_id, version, "reinstate")
    return _move(case, case.decision(caller))


def reject(db: Session, keyring: Keyring, caller: Identity, partner_id: UUID, version: int, body: Reason) -> Outcome:
    """Do not take a partner. It is told the reason. Raises as every decision does, and `Invalid` for an unknown reason."""
    _check_reason(body.reason_code)
    case = _case(db, keyring, caller, partner_id, version, "reject")
    return _move(case, case.decision(caller, reason_code=body.reason_code), reason_code=body.reason_code)


def suspend(db: Session, keyring: Keyring, caller: Identity, partner_id: UUID, version: int, body: Reason) -> Outcome:
    """Stop a partner from trading. It is told the reason. Raises as for rejecting it."""
    _check_reason(body.reason_code)
    case = _case(db, keyring, caller, partner_id, version, "suspend")
    return _move(case, case.decision(caller, reason_code=body.reason_code), reason_code=body.reason_code)


def request_clarification(
    db: Session, keyring: Keyring, caller: Identity, partner_id: UUID, version: int, body: ClarificationRequest
) -> Outcome:
    """Ask a partner to mend something. Raises as every decision does, and `Invalid` for an unknown field or reason."""
    faults = [fault for n, one in enumerate(body.clarifications) for fault in _faults(n, one)]
    if faults:
        raise Invalid("The clarification names an unknown field or reason; see errors", errors=faults)
    case = _case(db, keyring, caller, partner_id, version, "request_clarification")
    decision = case.decision(caller, clarifications=body.clarifications)
    return _move(case, decision, clarifications=body.clarifications)


def recheck(db: Session, keyring: Keyring, caller: Identity, partner_id: UUID, version: int) -> Outcome:
    """Run all checks anew: a provider was not available, or its list was stale; what was asked is taken back.

    Raises:
        Forbidden, NotFound, PreconditionFailed: as for every decision.
        Conflict: it is in another state, or something that everybody is asked for is missing or wrong.
    """
    case = _case(db, keyring, caller, partner_id, version, "recheck")
    if case.account.status in lifecycle.CHANGEABLE:
        unasked = replace(case.account, clarifications=())
        documents = document_store.list_all(db, partner_id)
        unmet = requirements.unmet(requirements.compute(unasked, case.profile, documents, [], clock.now()))
        if unmet:
            raise Conflict(f"The partner cannot be checked before this is corrected: {', '.join(unmet)}")
    after, change = service.submission(case.account, case.profile, "recheck", decision=case.decision(caller))
    return Outcome(change, service.summary(after), after.version)


def reclassify(
    db: Session, keyring: Keyring, caller: Identity, partner_id: UUID, version: int, body: Reclassify
) -> Outcome:
    """Correct the type or the constitution: what is asked for follows from them. The partner stays in its state.

    Raises:
        Forbidden, NotFound, PreconditionFailed: as for every decision.
        Conflict: it is being checked or was decided on, or is of this kind already.
    """
    case = _case(db, keyring, caller, partner_id, version, "reclassify")
    account, decision = case.account, case.decision(caller, kind=body)
    after = replace(
        account,
        version=version + 1,
        type=body.type or account.type,
        constitution=body.constitution or account.constitution,
        updated_at=decision.decided_at,
    )
    changed = [name for name in ("constitution", "type") if getattr(after, name) != getattr(account, name)]
    if not changed:
        raise Conflict("The partner already has this type and constitution")
    data = PartnerChanged(partner_id=partner_id, partner_type=after.type, fields=changed)
    change = store.reclassify(after, service.event(after, data), decision)
    return Outcome(change, service.summary(after), after.version)


@dataclass(frozen=True, slots=True)
class _Case:
    """What a decision stands on."""

    action: DecisionAction
    account: Account
    profile: PartnerProfile
    checks: Sequence[Check]

    def decision(
        self,
        caller: Identity,
        *,
        reason_code: str | None = None,
        accepted_checks: Sequence[CheckKind] = (),
        clarifications: Sequence[Clarification] = (),
        kind: Reclassify | None = None,
    ) -> PartnerDecision:
        return PartnerDecision(
            id=ids.uuid7(),
            action=self.action,
            reason_code=reason_code,
            accepted_checks=list(accepted_checks),
            clarifications=list(clarifications),
            type=kind and kind.type,
            constitution=kind and kind.constitution,
            risk=risk.score(self.account, self.profile, self.checks),
            decided_by=caller.subject,
            decided_at=clock.now(),
        )


def _case(
    db: Session, keyring: Keyring, caller: Identity, partner_id: UUID, version: int, action: DecisionAction
) -> _Case:
    """A partner on which `action` can be decided.

    Raises:
        Forbidden: the caller is not of operations.
        NotFound: there is no such partner.
        PreconditionFailed: it is not at `version`.
        Conflict: it is in another state.
    """
    require(caller.role is Role.OPS, "Only operations staff may decide on a partner")
    stored = service.find(db, partner_id, version)
    account = stored.account
    lifecycle.require(action, account.status)
    checks = store.checks(db, partner_id, account.submission)
    return _Case(action, account, service.open_profile(db, keyring, stored), checks)


def _move(
    case: _Case,
    decision: PartnerDecision,
    *,
    clarifications: Sequence[Clarification] = (),
    **fields: object,
) -> Outcome:
    """The step that the decision leads to; `told` is what its event says besides."""
    step, now = lifecycle.step(case.action, case.account.status), decision.decided_at
    account = case.account
    after = replace(account, version=account.version + 1, status=step.target, updated_at=now)
    if clarifications:
        after = requirements.with_clarifications(after, clarifications, now)
        fields["clarifications"] = list(clarifications)
    data = step.event.model_validate({"partner_id": account.id, "partner_type": account.type, **fields})
    change = store.move(after, service.event(after, data), decision=decision)
    return Outcome(change, service.summary(after), after.version)


def _faults(number: int, one: Clarification) -> Iterator[FieldError]:
    if one.field not in _MENDABLE:
        message = "Unknown field or document of a partner"
        yield FieldError(f"/clarifications/{number}/field", "unknown", message)
    yield from _unknown_reason(one.reason_code, f"/clarifications/{number}/reason_code")


def _check_reason(code: str) -> None:
    """The partner reads why: of a reason that is not in the table nobody could tell it more."""
    faults = list(_unknown_reason(code, "/reason_code"))
    if faults:
        raise Invalid("Unknown reason", errors=faults)


def _unknown_reason(code: str, pointer: str) -> Iterator[FieldError]:
    if code not in requirements.reasons():
        yield FieldError(pointer, "unknown", f"The reason must be one of {', '.join(requirements.reasons())}")
