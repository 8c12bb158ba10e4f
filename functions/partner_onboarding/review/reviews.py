"""What the platform's staff sees of a partner before anybody decides: the checks with what they found, and the risk."""

from collections.abc import Mapping
from uuid import UUID

from kapas.http.app import require
from kapas.http.identity import Identity, Role
from kapas.platform.db import Session
from kapas.privacy.key_store import SqlKeyStore
from kapas.privacy.keys import Field, Keyring

from .. import service, store
from ..checks.providers import BankRecord, GstRecord, ScreeningRecord
from ..records import Check
from ..review_schemas import CheckEvidence, PartnerCheck, PartnerReview, ScreeningHit
from ..schemas import CheckKind
from . import risk

_STAFF = (Role.OPS, Role.DPO, Role.INSPECTOR)
_EVIDENCE = (Role.OPS, Role.DPO)
"""Who sees what a provider answered: who decides by it, and who answers for the partner's data."""


def review(db: Session, keyring: Keyring, caller: Identity, partner_id: UUID) -> PartnerReview:
    """The checks, the risk and what was decided. What the screening found is for the platform's staff alone.

    Raises:
        Forbidden: the caller is not of the platform's staff.
        NotFound: there is no such partner.
    """
    require(caller.role in _STAFF, "Only the platform's staff may read reviews")
    stored = service.find(db, partner_id)
    account = stored.account
    profile = service.open_profile(db, keyring, stored)
    checks = store.checks(db, partner_id, account.submission)
    evidence: Mapping[CheckKind, CheckEvidence] = {}
    if caller.role in _EVIDENCE:
        evidence = _open(db, keyring, partner_id, account.submission)
    return PartnerReview(
        partner_id=partner_id,
        version=account.version,
        status=account.status,
        submission=account.submission,
        checks=[_show(check, evidence.get(check.kind)) for check in checks],
        risk=risk.score(account, profile, checks),
        rejected_alike=store.rejected_alike(db, partner_id),
        decisions=store.decisions(db, partner_id),
    )


def read_fields(review: PartnerReview) -> list[str]:
    """What the audit trail is told that a review showed."""
    return ["checks", "risk", *(f"checks.{check.kind}.evidence" for check in review.checks if check.evidence)]


def _open(db: Session, keyring: Keyring, partner_id: UUID, submission: int) -> dict[CheckKind, CheckEvidence]:
    kept: list[tuple[CheckKind, Field, bytes]] = [
        (kind, Field("partner_checks", "evidence", check_id), sealed)
        for kind, check_id, sealed in store.evidence(db, partner_id, submission)
    ]
    opened = keyring.decrypt_many(SqlKeyStore(db), partner_id, {field: sealed for _, field, sealed in kept})
    return {kind: _evidence(kind, opened[field]) for kind, field, _ in kept}


def _evidence(kind: CheckKind, plain: bytes) -> CheckEvidence:
    """What a provider answered, as it was kept by `verification`."""
    if kind == "gst_registry":
        registered = GstRecord.model_validate_json(plain)
        return CheckEvidence(status=registered.status or None, registered_name=registered.legal_name or None)
    if kind == "bank_account":
        credited = BankRecord.model_validate_json(plain)
        return CheckEvidence(status=credited.status, registered_name=credited.registered_name or None)
    searched = ScreeningRecord.model_validate_json(plain)
    return CheckEvidence(
        hits=[ScreeningHit(name=hit.name, score=hit.score, features=hit.features) for hit in searched.hits],
        list_version=searched.list and searched.list.version,
        list_published_at=searched.list and searched.list.published_at,
    )


def _show(check: Check, evidence: CheckEvidence | None) -> PartnerCheck:
    return PartnerCheck(
        kind=check.kind,
        submission=check.submission,
        result=check.result,
        explanation=list(check.explanation),
        evidence=evidence,
        provider=check.provider,
        provider_reference=check.provider_reference,
        attempts=check.attempts,
        created_at=check.created_at,
        completed_at=check.completed_at,
    )
