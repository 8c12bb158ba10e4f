"""The watchdog of partner checks on a real PostgreSQL: what was lost is made again, once; what is on its way is not."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from pg8000.native import Connection

from functions.partner_onboarding import deadlines, service
from functions.partner_onboarding.checks import verification
from functions.partner_onboarding.checks.verification import CheckTask
from functions.partner_onboarding.profile import requirements
from functions.partner_onboarding.review import decisions
from functions.partner_onboarding.review_schemas import Clarification, ClarificationRequest, Reason
from functions.partner_onboarding.schemas import ContactChange, PartnerChange, PartnerQuery
from kapas.errors import Unavailable
from kapas.http.identity import Identity
from kapas.messaging import outbox
from kapas.platform.db import PLATFORM, Database
from kapas.platform.ports import Task
from tests.integration.conftest import Login
from tests.integration.partner_onboarding.system import OPERATIONS, START, Killed, Queue, System
from tests.times import moving_time

LATE = verification.OVERDUE + timedelta(seconds=1)
KINDS = ["bank_account", "gst_registry", "screening"]


@pytest.fixture
def system(login: Login, admin: Connection) -> Iterator[System]:
    admin.run("TRUNCATE partners CASCADE")  # those that other tests left unchecked would be found as well
    database = Database(login("partner_onboarding"), 4)
    with moving_time(START) as time:
        yield System(database, admin, time)
    database.close()


def verifying(system: System) -> Identity:
    """A partner whose checks have begun, and whose tasks the queue has given up; their names stay taken."""
    caller = system.register()
    system.begin(system.submit(caller))
    return caller


def made(system: System) -> list[Task]:
    """The tasks that one run of the watchdog makes."""
    before = set(system.queue.tasks)
    verification.watch(system.database, system.queue)
    return [task for name, task in system.queue.tasks.items() if name not in before]


def kinds(tasks: list[Task]) -> list[str]:
    return sorted(CheckTask.model_validate_json(task.body).kind for task in tasks)


def finish(system: System, tasks: list[Task]) -> None:
    for task in tasks:
        system.check(CheckTask.model_validate_json(task.body))


def test_lost_tasks_are_made_again_and_end_the_checks(system: System) -> None:
    caller = verifying(system)
    system.time.now += LATE
    tasks = made(system)
    assert kinds(tasks) == KINDS
    finish(system, tasks)
    assert system.status(caller) == ("under_review", 4)


def test_only_what_has_no_result_is_made_again(system: System) -> None:
    caller = system.register()
    screening = next(task for task in system.begin(system.submit(caller)) if task.kind == "screening")
    system.check(screening)
    system.time.now += LATE
    assert kinds(made(system)) == ["bank_account", "gst_registry"]


def test_a_submission_whose_event_was_lost_is_begun(system: System) -> None:
    caller = system.register()
    event = system.submit(caller)
    system.time.now += LATE
    tasks = made(system)
    assert kinds(tasks) == KINDS
    assert system.status(caller) == ("verifying", 3)
    assert not verification.begin(system.database, system.queue, event)  # it was not lost, but late
    finish(system, tasks)
    assert system.types(caller) == ["created", "submitted", "verifying", "under_review"]


def test_what_is_checked_in_time_is_left_alone(system: System) -> None:
    verifying(system)
    submitted = system.register()
    system.submit(submitted)
    system.time.now += verification.OVERDUE
    assert made(system) == []
    assert system.status(submitted) == ("submitted", 2)


def test_whoever_waits_for_no_check_is_left_alone(system: System) -> None:
    system.register()
    system.checked()
    rejected = verifying(system)
    system.run(OPERATIONS, decisions.reject, rejected.partner_id, 3, Reason(reason_code="further_proof"))
    erased = verifying(system)
    system.restrict(erased)
    system.time.now += LATE
    assert made(system) == []


def test_a_second_run_within_the_hour_makes_no_further_task(system: System) -> None:
    verifying(system)
    system.time.now += LATE
    assert len(made(system)) == 3
    assert made(system) == []
    system.time.now += timedelta(minutes=5)
    assert made(system) == []  # they are still being tried


def test_what_is_lost_again_is_made_again_when_the_queue_has_given_it_up(system: System) -> None:
    verifying(system)
    system.time.now += LATE
    made(system)
    system.time.now += timedelta(hours=1)
    assert kinds(made(system)) == KINDS


def test_killed_after_a_task_was_made_the_next_run_makes_the_others(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = verifying(system)
    system.time.now += LATE
    before = set(system.queue.tasks)

    def die(task: Task) -> bool:
        Queue.enqueue(system.queue, task)
        raise Killed

    with monkeypatch.context() as dead:
        dead.setattr(system.queue, "enqueue", die)
        with pytest.raises(Killed):
            verification.watch(system.database, system.queue)
    assert len(system.queue.tasks) == len(before) + 1
    system.time.now += timedelta(minutes=5)
    verification.watch(system.database, system.queue)
    tasks = [task for name, task in system.queue.tasks.items() if name not in before]
    assert kinds(tasks) == KINDS
    finish(system, tasks)
    assert system.status(caller)[0] == "under_review"


def test_killed_between_the_step_and_its_tasks_they_are_made_in_their_time(system: System) -> None:
    caller = system.register()
    system.submit(caller)
    system.time.now += LATE
    system.queue.down = True
    with pytest.raises(Unavailable):
        verification.watch(system.database, system.queue)
    assert system.status(caller) == ("verifying", 3)
    system.queue.down = False
    system.time.now += LATE
    assert kinds(made(system)) == KINDS


def test_those_that_wait_longest_come_first_and_no_more_than_it_may(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "REAP_LIMIT", 1)
    first = verifying(system)
    system.time.now += timedelta(seconds=1)
    verifying(system)
    system.time.now += LATE
    partners = {CheckTask.model_validate_json(task.body).partner_id for task in made(system)}
    assert partners == {first.partner_id}


# Deadlines

DUE = requirements.table().registration


def test_a_deadline_that_passed_is_told_of_once(system: System) -> None:
    caller = system.register()
    system.time.now += DUE - timedelta(seconds=1)
    assert deadlines.notify(system.database) == 0
    system.time.now += timedelta(seconds=1)
    assert [deadlines.notify(system.database) for _ in range(2)] == [1, 0]
    system.time.now += timedelta(days=1)
    assert deadlines.notify(system.database) == 0
    assert system.types(caller) == ["created", "requirements_overdue"]
    assert system.event(caller, 2).data["status"] == "created"
    change = PartnerChange(contact=ContactChange(phone="+919812345678"))
    system.run(caller, service.change, caller.partner_id, 2, change)  # it goes on as before
    assert deadlines.notify(system.database) == 0


def test_killed_after_the_commit_the_others_are_told_of_and_none_twice(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    callers = [system.register() for _ in range(3)]
    system.time.now += DUE
    commit = outbox.commit

    def die(*arguments: Any) -> None:
        commit(*arguments)
        raise Killed

    with monkeypatch.context() as dead:
        dead.setattr(outbox, "commit", die)
        with pytest.raises(Killed):
            deadlines.notify(system.database)
    assert deadlines.notify(system.database) == 2
    assert [system.types(caller) for caller in callers] == [["created", "requirements_overdue"]] * 3


def test_what_was_submitted_in_time_or_is_being_erased_is_not_overdue(system: System) -> None:
    submitted, erased = system.register(), system.register()
    system.submit(submitted)
    system.restrict(erased)
    system.time.now += DUE
    assert deadlines.notify(system.database) == 0


def test_another_deadline_is_told_of_as_well(system: System) -> None:
    caller = system.register()
    system.time.now += DUE
    deadlines.notify(system.database)
    system.world.published_at = system.time.now
    for task in system.begin(system.submit(caller, 2)):
        system.check(task)
    asked = [Clarification(field="bank_account", reason_code="details_differ")]
    system.run(
        OPERATIONS, decisions.request_clarification, caller.partner_id, 5, ClarificationRequest(clarifications=asked)
    )
    assert deadlines.notify(system.database) == 0
    system.time.now += requirements.table().clarification
    assert deadlines.notify(system.database) == 1
    assert system.types(caller)[-2:] == ["needs_clarification", "requirements_overdue"]


def test_the_list_shows_who_is_overdue(system: System) -> None:
    late = system.register()
    system.time.now += timedelta(days=1)
    system.register()
    system.time.now += DUE - timedelta(days=1)
    with system.database.session(PLATFORM) as db:
        assert [one.id for one in service.list_page(db, PartnerQuery(overdue=True)).data] == [late.partner_id]
        assert len(service.list_page(db, PartnerQuery()).data) == 2
