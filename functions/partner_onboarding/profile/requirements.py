"""What a partner is asked for, by its type and constitution, and what of it is missing, wrong or under way.

What is asked for stands in `requirements.json`, how each fault is mended in `reasons.json`; both carry a version.
"""

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from kapas.errors import FieldError, Invalid

from ..records import Account, Document, OpenClarification
from ..review_schemas import Clarification
from ..schemas import (
    CheckKind,
    Constitution,
    PartnerProfile,
    PartnerType,
    PartnerWarning,
    RequirementError,
    Requirements,
)
from . import identifiers
from .identifiers import Finding

CHECKED_FIELDS: Mapping[CheckKind, str] = {
    "gst_registry": "identifiers.gstin",
    "bank_account": "bank_account",
    "screening": "legal_name",
}
"""Check -> the field that is pending while it runs."""


@dataclass(frozen=True, slots=True)
class Table:
    """`requirements.json` as read."""

    version: str
    registration: timedelta
    """From the registration until what is asked for is overdue."""
    clarification: timedelta
    """The same from a request for clarification."""
    always: tuple[str, ...]
    by_type: Mapping[PartnerType, tuple[str, ...]]
    by_constitution: Mapping[Constitution, tuple[str, ...]]
    pan_entities: Mapping[str, str]


@functools.cache
def table() -> Table:
    """The table of requirements, read at the first use."""
    data = json.loads((Path(__file__).parent / "requirements.json").read_text("utf-8"))
    return Table(
        version=data["version"],
        registration=timedelta(days=data["days"]["registration"]),
        clarification=timedelta(days=data["days"]["clarification"]),
        always=tuple(data["always"]),
        by_type={name: tuple(fields) for name, fields in data["by_type"].items()},
        by_constitution={name: tuple(fields) for name, fields in data["by_constitution"].items()},
        pan_entities=data["pan_entities"],
    )


@functools.cache
def reasons() -> Mapping[str, tuple[str, str]]:
    """Code -> what is wrong, and how to mend it."""
    data = json.loads((Path(__file__).parent / "reasons.json").read_text("utf-8"))
    return {code: (message, mend) for code, (message, mend) in data["reasons"].items()}


def explain(code: str, otherwise: str) -> tuple[str, str]:
    """What a code says to the partner, and how it is mended; of a code that is no longer known, what `otherwise` says."""
    return reasons().get(code, reasons()[otherwise])


def compute(
    account: Account,
    profile: PartnerProfile,
    documents: Sequence[Document],
    pending: Sequence[CheckKind],
    now: datetime,
) -> Requirements:
    """What stands between the partner and its activation. `pending` are the checks that are under way."""
    uploaded = {f"documents.{document.kind}" for document in documents if document.status == "uploaded"}
    missing = [field for field in _required(account, profile) if not _is_present(field, profile, uploaded)]
    clarifications = [one for one in account.clarifications if not _is_answered(one, documents)]
    open_ = account.status in ("created", "requirements_due", "needs_clarification")
    due = list(dict.fromkeys([*missing, *(one.field for one in clarifications)])) if open_ else []
    contradicting = identifiers.contradictions(profile, account.constitution, table().pan_entities, now)
    found = [*contradicting, *(Finding(one.field, one.reason_code) for one in clarifications)]
    overdue = account.due_at is not None and account.due_at <= now
    return Requirements(
        currently_due=due,
        past_due=due if overdue else [],
        pending_verification=[CHECKED_FIELDS[kind] for kind in pending],
        errors=[_error(finding) for finding in found],
        due_at=account.due_at if open_ else None,
        table_version=table().version,
    )


def with_clarifications(account: Account, clarifications: Sequence[Clarification], now: datetime) -> Account:
    """The partner after these clarifications are requested, with the deadline for its answer."""
    return replace(
        account,
        clarifications=tuple(OpenClarification(one.field, one.reason_code, now) for one in clarifications),
        due_at=now + table().clarification,
    )


def warnings(profile: PartnerProfile) -> list[PartnerWarning]:
    """What is unusual and holds nothing up."""
    return [
        PartnerWarning(field=one.field, code=one.code, message=reasons()[one.code][0])
        for one in identifiers.oddities(profile)
    ]


def checks(profile: PartnerProfile) -> list[CheckKind]:
    """The checks that a submission of this profile goes through."""
    kinds: list[CheckKind] = ["bank_account", "screening"]
    return kinds if profile.identifiers.gstin is None else ["gst_registry", *kinds]


def unanswered(clarifications: Sequence[OpenClarification], changed: Sequence[str]) -> list[OpenClarification]:
    """The clarifications that stay open after a change of these fields. A change of either name answers one about both."""
    return [
        one
        for one in clarifications
        if not any(one.field == field or one.field.startswith(f"{field}.") for field in changed)
        and not (one.reason_code.endswith("_name_differs") and "legal_name" in changed)
    ]


def confirmed(clarifications: Sequence[OpenClarification], fields: Sequence[str]) -> tuple[OpenClarification, ...]:
    """The clarifications that stay open after the partner confirms these fields. Raises `Invalid` for any other field."""
    open_ = {one.field for one in clarifications if not one.field.startswith("documents.")}
    message = "There is no open question about this field, or it is a document: upload that again"
    faults = [FieldError(f"/confirmed/{n}", "unknown", message) for n, field in enumerate(fields) if field not in open_]
    if faults:
        raise Invalid("confirmed names a field without an open question; see errors", errors=faults)
    return tuple(one for one in clarifications if one.field not in fields)


def unmet(found: Requirements) -> list[str]:
    """The fields and documents for which a partner is not checked yet."""
    return sorted({*found.currently_due, *(error.field for error in found.errors)})


def _required(account: Account, profile: PartnerProfile) -> Iterator[str]:
    yield from table().always
    yield from table().by_type[account.type]
    # PML Rules r.9(3): the owners of a listed company need not be told. Its CIN begins with L.
    listed = (profile.identifiers.cin or "").startswith("L")
    yield from (
        field
        for field in table().by_constitution[account.constitution]
        if not (listed and field == "beneficial_owners")
    )


def _is_present(field: str, profile: PartnerProfile, uploaded: set[str]) -> bool:
    group, _, name = field.partition(".")
    if group == "documents":
        return field in uploaded
    value = getattr(profile, group)
    return bool(getattr(value, name) if name else value)


def _is_answered(clarification: OpenClarification, documents: Sequence[Document]) -> bool:
    """Whether the requested document was uploaded since the request."""
    group, _, kind = clarification.field.partition(".")
    return group == "documents" and any(
        document.kind == kind and document.status == "uploaded" and document.created_at >= clarification.asked_at
        for document in documents
    )


def _error(finding: Finding) -> RequirementError:
    message, mend = explain(finding.code, "details_differ")
    return RequirementError(field=finding.field, code=finding.code, message=message, how_to_mend=mend)
