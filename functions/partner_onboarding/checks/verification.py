"""The checks of a submission: begun by its event, one task each, and what they come to.

A check never decides on a partner. Whatever comes twice, late or out of order changes nothing: a check has its result
once, and only while its submission is being verified.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid5

from pydantic import BaseModel

from kapas.errors import Unavailable, VersionConflict
from kapas.messaging import outbox
from kapas.messaging.events import CloudEvent
from kapas.messaging.tasks import new_task
from kapas.platform import log
from kapas.platform.db import PLATFORM, Database, Session
from kapas.platform.ports import Task, Tasks
from kapas.privacy import restrictions
from kapas.privacy.key_store import SqlKeyStore
from kapas.privacy.keys import Field, Keyring, Shredded
from kapas.values import clock

from .. import lifecycle, service, store
from ..event_models import PartnerSubmitted
from ..profile import aadhaar, profiles, requirements
from ..records import Account, Check, Verdict
from ..review_schemas import CheckResult, Clarification
from ..schemas import BankAccount, CheckKind, PartnerProfile
from . import names
from .providers import BankRecord, GstRecord, Providers, ScreeningRecord

QUEUE = "partner-checks"
HANDLER = "partner-check"
ATTEMPTS = 5
"""How often a provider may be unavailable before a person has to look. The queue tries more often than that."""
HIT = 0.9
"""The score from which a screening hit is taken for the one who is asked about."""
OVERDUE = timedelta(minutes=15)
"""How long a partner waits for its checks before the watchdog looks after them: a provider is given up in a minute."""
REAP_LIMIT = 200


class CheckTask(BaseModel):
    """The payload of a task."""

    partner_id: UUID
    submission: int
    kind: CheckKind


def begin(database: Database, tasks: Tasks, event: CloudEvent) -> bool:
    """On `partner.submitted.v1`: the partner is `verifying`, and each check has its task; whether anything was written.

    Seen twice, or killed after the commit, it makes the tasks that are missing: their names are taken once.

    Raises:
        kapas.errors.Unavailable: Cloud Tasks does not answer; Pub/Sub delivers again.
    """
    if event.type != PartnerSubmitted.type:
        return False
    return _begin(database, tasks, event.subject, PartnerSubmitted.model_validate(event.data).submission)


def watch(database: Database, tasks: Tasks) -> int:
    """Have those submissions checked that wait for it too long; how many there were.

    The event of one was given up, or a task of its checks: each gets a task of another name, for one that was used stays
    taken for hours. The name is of the hour, which is as long as the queue tries: until then there is one that tries.

    Raises:
        kapas.errors.Unavailable: Cloud Tasks does not answer; the next run makes what is missing.
    """
    now = clock.now()
    with database.session(PLATFORM) as db:
        overdue = store.overdue(db, now - OVERDUE, REAP_LIMIT)
    for account in overdue:
        _begin(database, tasks, account.id, account.submission, f"-{now:%Y%m%d%H}")
    if overdue:
        log.warning("partner_checks_reaped", partners=len(overdue))
    return len(overdue)


def check(database: Database, keyring: Keyring, providers: Providers, task: CheckTask) -> bool:
    """Make one check and write what it came to; whether the partner moved on by it.

    Killed between the provider's answer and the commit, it is made again under the same reference.

    Raises:
        kapas.errors.Unavailable: the provider does not answer, and may be asked again.
    """
    with database.session(PLATFORM) as db:
        found = _pending(db, keyring, task)
    if found is None:
        return False
    one, profile = found
    try:
        verdict = ask(providers, profile, one)
    except Unavailable as failure:
        with database.session(PLATFORM) as db:
            attempts = store.count_attempt(db, one.id)
        log.warning("provider_unavailable", check_id=one.id, kind=one.kind, attempts=attempts, reason=failure.detail)
        if 0 < attempts < ATTEMPTS:
            raise
        verdict = Verdict("unavailable", ("provider_unavailable",))
    return _record(database, keyring, task, one, verdict)


def ask(providers: Providers, profile: PartnerProfile, one: Check) -> Verdict:
    """Ask the provider of a check, and say what its answer comes to. Raises `Unavailable`."""
    account, gstin = profile.bank_account, profile.identifiers.gstin
    if one.kind == "gst_registry" and gstin is not None:
        return of_registry(profile, providers.gst_registry.lookup(gstin, profile.legal_name, one.id))
    if one.kind == "bank_account" and account is not None:
        return of_bank(profile, _drop_penny(providers, account, profile.legal_name, one))
    people = [profile.legal_name, *(owner.name for owner in profile.beneficial_owners)]
    return of_screening(providers.screening.search(people, one.id))


def _drop_penny(providers: Providers, account: BankAccount, name: str, one: Check) -> BankRecord:
    """Ask for the number as the bank has it, which may be another than a client could send."""
    number = aadhaar.without_added_zero(account.number)
    record = providers.bank.penny_drop(account.ifsc, number, name, one.id)
    if record.status != "unknown" or number == account.number:
        return record
    # The zero was the bank's own. Another number is another request, and has a key of its own each time it is made.
    return providers.bank.penny_drop(account.ifsc, account.number, name, uuid5(one.id, "as typed"))


def of_registry(profile: PartnerProfile, record: GstRecord) -> Verdict:
    """`clear` where the registration is active and in the partner's name."""
    if not record.found:
        return _verdict("gst_registry", record, "mismatch", "gst_unknown")
    if record.status.casefold() != "active":
        return _verdict("gst_registry", record, "mismatch", "gst_not_active")
    return _of_names("gst_registry", record, profile.legal_name, record.legal_name, "gst_name_differs")


def of_bank(profile: PartnerProfile, record: BankRecord) -> Verdict:
    """`clear` where the account was credited and is in the partner's name."""
    if record.status == "unknown":
        return _verdict("bank_verification", record, "mismatch", "account_unknown")
    if record.status != "credited":
        return _verdict("bank_verification", record, "mismatch", "account_not_active")
    return _of_names("bank_verification", record, profile.legal_name, record.registered_name, "account_name_differs")


def of_screening(record: ScreeningRecord) -> Verdict:
    """`clear` where nobody listed is like the partner or its owners; whatever is found, a person looks at."""
    if not record.hits:
        return _verdict("screening", record, "clear")
    surest = max(hit.score for hit in record.hits)
    return _verdict("screening", record, "mismatch" if surest >= HIT else "review", "listed_name")


def _of_names(provider: str, record: GstRecord | BankRecord, legal: str, registered: str, code: str) -> Verdict:
    compared = names.compare(legal, registered)
    if compared.band == "match":
        return _verdict(provider, record, "clear")
    return _verdict(provider, record, compared.band, code, *compared.explanation)


def _verdict(
    provider: str, record: GstRecord | BankRecord | ScreeningRecord, result: CheckResult, *codes: str
) -> Verdict:
    return Verdict(result, codes, provider, record.reference, record.model_dump(mode="json"))


def _begin(database: Database, tasks: Tasks, partner_id: UUID, submission: int, suffix: str = "") -> bool:
    """Have a submission verified, if it still is to be; whether the partner moved on by it."""
    with database.session(PLATFORM) as db:
        stored = store.find(db, partner_id)
        if stored is None or stored.account.submission != submission:
            return False
        began = stored.account.status == "submitted" and _move(db, stored.account, "begin_checks")
        if not began and stored.account.status not in ("submitted", "verifying"):
            return False
        checks = store.checks(db, partner_id, submission)
    for one in checks:
        if one.result is None:
            tasks.enqueue(_task(CheckTask(partner_id=partner_id, submission=submission, kind=one.kind), suffix))
    return began


def _pending(db: Session, keyring: Keyring, task: CheckTask) -> tuple[Check, PartnerProfile] | None:
    """The check of a task with what it is about; None if it has a result, or nobody waits for it any more."""
    stored = store.find(db, task.partner_id)
    if stored is None or not _waits(stored.account, task) or restrictions.restricted(db, task.partner_id):
        return None
    for one in store.checks(db, task.partner_id, task.submission):
        if one.kind == task.kind and one.result is None:
            try:
                return one, profiles.open_profile(keyring, SqlKeyStore(db), stored)
            except Shredded:
                return None
    return None


def _record(database: Database, keyring: Keyring, task: CheckTask, one: Check, verdict: Verdict) -> bool:
    """Write the result, and with the last one of its submission where the partner goes."""
    with database.session(PLATFORM) as db, db.transaction():
        account = store.lock(db, task.partner_id)
        if account is None or not _waits(account, task):
            log.info("check_came_too_late", check_id=one.id, kind=one.kind)
            return False
        evidence = None
        if verdict.evidence:
            field = Field("partner_checks", "evidence", one.id)
            try:
                plain = json.dumps(verdict.evidence)
                evidence = keyring.encrypt(SqlKeyStore(db), task.partner_id, field, plain)
            except Shredded:
                return False
        if not store.record(db, one.id, verdict, evidence, clock.now()):
            return False
        log.info("partner_checked", check_id=one.id, kind=one.kind, result=verdict.result)
        checks = store.checks(db, task.partner_id, task.submission)
        if any(other.result is None for other in checks):
            return False
        clarifications = _to_mend(checks)
        return _move(db, account, "hold" if clarifications else "end_checks", clarifications)


def _to_mend(checks: Sequence[Check]) -> list[Clarification]:
    """What the partner is asked to mend. Of the screening it is told nothing: that would warn who is listed."""
    return [
        Clarification(field=requirements.CHECKED_FIELDS[one.kind], reason_code=one.explanation[0])
        for one in checks
        if one.result == "mismatch" and one.kind != "screening"
    ]


def _waits(account: Account, task: CheckTask) -> bool:
    return account.status == "verifying" and account.submission == task.submission


def _move(db: Session, account: Account, name: str, clarifications: Sequence[Clarification] = ()) -> bool:
    """Take a step of the platform's own; False if somebody changed the partner first."""
    step, now = lifecycle.step(name, account.status), clock.now()
    after = replace(account, version=account.version + 1, status=step.target, updated_at=now)
    data_fields: dict[str, object] = {"partner_id": account.id, "partner_type": account.type}
    if clarifications:
        after = requirements.with_clarifications(after, clarifications, now)
        data_fields["clarifications"] = list(clarifications)
    data = step.event.model_validate(data_fields)
    try:
        outbox.commit(db, store.move(after, service.event(after, data)))
    except VersionConflict:
        return False
    return True


def _task(task: CheckTask, suffix: str) -> Task:
    return new_task(QUEUE, HANDLER, task, task.partner_id, f"-{task.submission}-{task.kind}{suffix}")
