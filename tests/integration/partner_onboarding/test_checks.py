"""Checks of partners on a real PostgreSQL: whatever comes twice, late, out of order or is killed has its effect once."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pg8000.native import Connection
from stdnum import verhoeff

from functions.partner_onboarding import decisions, document_store, documents, service, store, verification
from functions.partner_onboarding.providers import Hit
from functions.partner_onboarding.review_schemas import Activate, Reason
from functions.partner_onboarding.schemas import ContactChange, DocumentCreate, PartnerChange, Submit
from kapas.errors import Conflict, Unavailable, VersionConflict
from kapas.messaging import outbox
from kapas.platform.db import PLATFORM, Database
from kapas.platform.ports import SignedUpload, StoredFile
from kapas.privacy.key_store import SqlKeyStore
from kapas.privacy.keys import Field, Keyring
from kapas.values import clock, ids
from tests.integration.conftest import Login
from tests.integration.data_export.system import Bucket, Faults
from tests.integration.partner_onboarding.system import OPERATIONS, START, Killed, System, identifier
from tests.journeys.partners import registration
from tests.times import PATIENCE, eventually, moving_time
from tests.unit.kapas.fake_keys import Kms

CONTACT = ContactChange(phone="+919812345678")


class Uploads(Bucket):
    """A bucket in which whatever was announced is."""

    def upload_url(self, path: str, *, content_type: str, size: int, sha256: str, lifetime: timedelta) -> SignedUpload:
        return SignedUpload("PUT", f"https://storage.example.com/{path}", {}, clock.now() + lifetime)

    def stat(self, path: str) -> StoredFile | None:
        return StoredFile(path, 8, "", clock.now())


@pytest.fixture
def system(login: Login, admin: Connection) -> Iterator[System]:
    database = Database(login("partner_onboarding"), 8)
    with moving_time(START) as time:
        yield System(database, admin, time)
    database.close()


def test_clear_checks_lead_to_a_review_and_not_further(system: System) -> None:
    caller = system.checked()
    assert system.status(caller) == ("under_review", 4)
    assert system.types(caller) == ["created", "submitted", "verifying", "under_review"]
    review = system.review(caller)
    assert {check.kind: check.result for check in review.checks} == dict.fromkeys(
        ("gst_registry", "bank_account", "screening"), "clear"
    )


def test_an_account_in_another_name_holds_the_partner_until_it_is_mended(system: System) -> None:
    system.world.holder = "Ajay Example"
    caller = system.checked(legal_name="Vijay Example Private Limited")
    assert system.status(caller) == ("needs_clarification", 4)
    (asked,) = system.event(caller, 4).data["clarifications"]
    assert asked == {"field": "bank_account", "reason_code": "account_name_differs"}

    account = {"ifsc": "EXAM0000002", "number": "90210000017"}
    system.run(caller, service.change, caller.partner_id, 4, PartnerChange(bank_account=account))
    system.world.holder, system.queue.tasks = None, {}
    for task in system.begin(system.submit(caller, 5)):
        system.check(task)
    assert system.status(caller)[0] == "under_review"


def test_submitted_again_without_mending_it_is_requirements_due(system: System) -> None:
    system.world.holder = "Somebody Else"
    caller = system.checked()
    system.run(caller, service.submit, caller.partner_id, 4, Submit())
    assert system.status(caller) == ("requirements_due", 5)
    assert system.event(caller, 5).data["fields"] == ["bank_account"]


def test_a_screening_hit_is_for_a_person_and_the_partner_is_told_nothing(system: System) -> None:
    system.world.hits = [Hit(name="Meena Example", score=0.97)]
    caller = system.checked()
    assert system.status(caller)[0] == "under_review"
    assert "listed" not in json.dumps([system.event(caller, n).data for n in (1, 2, 3, 4)])
    with pytest.raises(Conflict, match="screening"):
        system.run(OPERATIONS, decisions.activate, caller.partner_id, 4, Activate())
    accept = Activate(accepted_checks=["screening"], reason_code="another_person")
    system.run(OPERATIONS, decisions.activate, caller.partner_id, 4, accept)
    (decision,) = system.review(caller).decisions
    assert (decision.action, decision.accepted_checks, decision.reason_code) == (
        "activate",
        ["screening"],
        "another_person",
    )
    assert decision.risk.level == "high"


@pytest.mark.parametrize("published_at", [None, datetime(2026, 11, 17, 6, 29, tzinfo=UTC)])
def test_a_missing_or_stale_list_is_unavailable_never_clear(system: System, published_at: datetime | None) -> None:
    system.world.published_at = published_at
    caller = system.register()
    tasks = system.begin(system.submit(caller))
    screening = next(task for task in tasks if task.kind == "screening")
    for _ in range(verification.ATTEMPTS - 1):
        with pytest.raises(Unavailable):
            system.check(screening)
    for task in tasks:
        system.check(task)
    results = {check.kind: check.result for check in system.review(caller).checks}
    assert results == {"gst_registry": "clear", "bank_account": "clear", "screening": "unavailable"}
    assert system.status(caller)[0] == "under_review"
    with pytest.raises(Conflict):
        system.run(OPERATIONS, decisions.activate, caller.partner_id, 4, Activate())


def test_a_provider_that_comes_back_is_asked_again_under_the_same_key(system: System) -> None:
    system.world.down = {"bank_account"}
    caller = system.register()
    tasks = {task.kind: task for task in system.begin(system.submit(caller))}
    with pytest.raises(Unavailable):
        system.check(tasks["bank_account"])
    system.world.down = set()
    for task in tasks.values():
        system.check(task)
    asked = [check for check in system.world.calls if system.world.calls.count(check) == 2]
    assert len(set(asked)) == 1
    assert system.status(caller)[0] == "under_review"


def test_after_a_recheck_the_checks_are_new_ones(system: System) -> None:
    system.world.down = {"screening"}
    caller = system.register()
    tasks = system.begin(system.submit(caller))
    system.world.down = set()
    system.run(OPERATIONS, decisions.recheck, caller.partner_id, 3)
    again = system.begin(system.event(caller, 4))
    for task in tasks:
        assert not system.check(task)  # of the submission before
    assert system.world.calls == []
    for task in again:
        system.check(task)
    assert system.status(caller) == ("under_review", 6)
    assert {check.submission for check in system.review(caller).checks} == {2}


# Twice, late, at once, killed


def test_an_event_that_comes_twice_begins_once(system: System) -> None:
    caller = system.register()
    event = system.submit(caller)
    assert len(system.begin(event)) == len(system.begin(event)) == 3
    assert system.status(caller) == ("verifying", 3)


def test_an_event_of_an_earlier_submission_begins_nothing(system: System) -> None:
    caller = system.register()
    first = system.submit(caller)
    system.run(OPERATIONS, decisions.recheck, caller.partner_id, 2)
    assert system.begin(first) == []
    assert system.status(caller) == ("submitted", 3)


def test_killed_before_its_tasks_are_made_they_are_made_when_the_event_comes_again(system: System) -> None:
    caller = system.register()
    event = system.submit(caller)
    system.queue.down = True
    with pytest.raises(Unavailable):
        system.begin(event)
    assert system.status(caller) == ("verifying", 3)
    system.queue.down = False
    assert len(system.begin(event)) == 3


def test_a_task_that_comes_twice_has_its_effect_once(system: System) -> None:
    caller = system.register()
    tasks = system.begin(system.submit(caller))
    for task in (*tasks, *tasks):
        system.check(task)
    assert len(system.world.calls) == 3
    assert system.types(caller) == ["created", "submitted", "verifying", "under_review"]


def test_killed_between_the_answer_and_the_commit_it_is_made_again(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = system.register()
    tasks = system.begin(system.submit(caller))

    def die(*_: Any) -> bool:
        raise Killed

    with monkeypatch.context() as dead:
        dead.setattr(store, "record", die)
        for task in tasks:
            with pytest.raises(Killed):
                system.check(task)
    assert system.status(caller) == ("verifying", 3)
    for task in tasks:
        system.check(task)
    assert sorted(system.world.calls[:3]) == sorted(system.world.calls[3:])
    assert system.status(caller) == ("under_review", 4)


def test_a_result_after_the_decision_changes_nothing(system: System) -> None:
    caller = system.register()
    *_, last = system.begin(system.submit(caller))

    def decide() -> None:
        system.world.meanwhile = lambda: None
        reason = Reason(reason_code="further_proof")
        system.run(OPERATIONS, decisions.reject, caller.partner_id, 3, reason)

    system.world.meanwhile = decide
    assert not system.check(last)
    assert system.status(caller) == ("rejected", 4)
    assert all(check.result is None for check in system.review(caller).checks)


def test_checks_that_end_at_once_move_the_partner_once(
    system: System, admin: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = system.register()
    tasks = system.begin(system.submit(caller))
    record, recorded, looking = store.record, list[bool](), threading.Lock()
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'partner_onboarding' AND wait_event_type = 'Lock'"

    def others_are_as_far() -> bool:
        with looking:  # the others have recorded, or wait for the lock of one that has
            return len(recorded) + admin.run(waiting)[0][0] == len(tasks)

    def record_together(*arguments: Any) -> bool:
        first = record(*arguments)
        recorded.append(first)
        eventually(others_are_as_far, "the other checks' end")
        return first

    monkeypatch.setattr(store, "record", record_together)
    with ThreadPoolExecutor(len(tasks)) as threads:
        moved = [done.result(PATIENCE) for done in [threads.submit(system.check, task) for task in tasks]]
    assert sorted(moved) == [False, False, True]
    assert system.status(caller) == ("under_review", 4)


def test_duplicates_are_found_at_once_and_one_wins(system: System) -> None:
    body = registration()
    kept: dict[str, Any] = {"identifiers": body["identifiers"]}

    def attempt(_: int) -> bool:
        try:
            system.register(**kept)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(6) as threads:
        assert sum(threads.map(attempt, range(6))) == 1


@pytest.mark.parametrize("changes", [{"ifsc": "EXAM0009999"}, {"number": "00{number}"}])
def test_a_bank_account_is_known_by_bank_and_number(system: System, changes: dict[str, str]) -> None:
    account = registration()["bank_account"]
    system.register(bank_account=account)
    again = {name: changes.get(name, value).format(number=value) for name, value in account.items()}
    with pytest.raises(Conflict, match="bank account"):
        system.register(bank_account=again)


def test_a_zero_that_was_added_for_the_aadhaar_guard_is_not_sent_to_the_bank(system: System) -> None:
    number = _like_an_aadhaar_number()
    system.world.unknown = {f"0{number}"}
    caller = system.checked(bank_account={"ifsc": "EXAM0000001", "number": f"0{number}"})
    assert system.world.dropped == [number]
    assert system.status(caller)[0] == "under_review"


def test_a_zero_that_belongs_to_the_number_is_sent_where_the_bank_knows_it_so(system: System) -> None:
    number = _like_an_aadhaar_number()
    system.world.unknown = {number}
    caller = system.checked(bank_account={"ifsc": "EXAM0000001", "number": f"0{number}"})
    assert system.world.dropped == [number, f"0{number}"]
    assert len(set(system.world.calls)) == len(system.world.calls) == 4  # each drop has a key of its own
    assert system.status(caller)[0] == "under_review"


@pytest.mark.parametrize("number", ["0234123412347", "00234123412346", "023412341234"])
def test_another_number_is_sent_as_it_was_typed(system: System, number: str) -> None:
    system.checked(bank_account={"ifsc": f"{_series()}0000001", "number": number})
    assert system.world.dropped == [number]


def test_what_a_provider_answered_is_kept_encrypted(system: System) -> None:
    system.world.holder = "EXAMPLE HOLDER PRIVATE LIMITED"
    caller = system.checked(legal_name="Example Holder Private Limited")
    rows = system.admin.run(
        "SELECT id, evidence FROM partner_checks WHERE partner_id = :id AND kind = 'bank_account'", id=caller.partner_id
    )
    ((check_id, evidence),) = rows
    assert b"HOLDER" not in evidence
    with system.database.session(PLATFORM) as db:
        place = Field("partner_checks", "evidence", check_id)
        opened = system.keyring.decrypt(SqlKeyStore(db), identifier(caller), place, bytes(evidence))
    assert json.loads(opened)["registered_name"] == "EXAMPLE HOLDER PRIVATE LIMITED"


def test_what_an_erasure_overtook_is_not_written(system: System) -> None:
    caller = system.register()
    partner_id = identifier(caller)
    announced = DocumentCreate(kind="bank_proof", content_type="application/pdf", size=8, sha256="ab" * 32)
    with system.database.session(partner_id) as db:
        first = documents.announce(db, Uploads(Faults()), caller, partner_id, announced)
        outbox.commit(db, first.change)
        held_up = [
            documents.announce(db, Uploads(Faults()), caller, partner_id, announced),
            documents.confirm(db, Uploads(Faults()), caller, partner_id, first.resource.id),
            service.change(db, system.keyring, caller, partner_id, 1, PartnerChange(contact=CONTACT)),
        ]
        system.restrict(caller)
        for outcome in held_up:
            with pytest.raises(VersionConflict):
                outbox.commit(db, outcome.change)
        assert [document.version for document in document_store.list_all(db, partner_id)] == [1]
    assert system.status(caller) == ("created", 1)


def test_killed_between_file_and_row_a_document_is_withdrawn_again(system: System) -> None:
    caller = system.register()
    partner_id = identifier(caller)
    announced = DocumentCreate(kind="bank_proof", content_type="application/pdf", size=8, sha256="ab" * 32)
    files = Uploads(Faults())
    with system.database.session(partner_id) as db:
        document = documents.announce(db, files, caller, partner_id, announced)
        outbox.commit(db, document.change)
        system.time.now += documents.UPLOAD_LIFETIME
        place = (db, files, caller, partner_id, document.resource.id)

        def killed() -> None:
            with db.transaction():
                documents.withdraw(*place)
                raise Killed

        with pytest.raises(Killed):
            killed()
        assert len(document_store.list_all(db, partner_id)) == 1
        with db.transaction():
            outbox.commit(db, documents.withdraw(*place).change)
        assert document_store.list_all(db, partner_id) == []
    assert system.types(caller) == ["created", "changed"]


def test_a_partner_that_is_being_erased_is_not_checked(system: System) -> None:
    caller = system.register()
    tasks = system.begin(system.submit(caller))
    system.restrict(caller)
    assert not any(system.check(task) for task in tasks)
    assert system.world.calls == []


def test_an_erased_partner_is_not_checked(system: System, admin: Connection) -> None:
    caller = system.register()
    tasks = system.begin(system.submit(caller))
    admin.run("DELETE FROM subject_keys WHERE subject_id = :id", id=caller.partner_id)
    system.keyring = Keyring(Kms())
    assert not any(system.check(task) for task in tasks)
    assert system.world.calls == []


def _like_an_aadhaar_number() -> str:
    """Made up, and of the form: an account that the guard does not take without a zero before it."""
    digits = f"5{ids.uuid7().int % 10**10:010d}"
    return digits + verhoeff.calc_check_digit(digits)


def _series() -> str:
    """A bank of its own, so that the same numbers can be registered again."""
    return "".join(chr(65 + ids.uuid7().int // 26**power % 26) for power in range(4))
