"""What begins an erasure: its event may come twice, late and out of order, and be lost with whoever took it."""

from datetime import timedelta
from uuid import UUID

import pytest

from functions.data_export import erasing, service
from functions.data_export.schemas import Erasure
from kapas.errors import Unavailable
from kapas.http.identity import Identity
from kapas.messaging.events import CloudEvent
from kapas.platform.ports import Task
from tests.integration.data_export.system import START, Killed, System
from tests.integration.trade_events.market import cloud_event
from tests.times import Time

PUBLISHED = ["erasure.requested.v1", "privacy.erased.v1"]


@pytest.fixture
def owner(system: System) -> Identity:
    owner = system.register()
    assert owner.partner_id
    system.webhook(owner.partner_id)
    return owner


@pytest.fixture
def erasure(system: System, owner: Identity) -> Erasure:
    """One that was asked for and committed, and whose event nobody has taken."""
    return system.request_erasure(owner)


def published(system: System, subject: UUID) -> list[CloudEvent]:
    rows = system.run(
        "SELECT event_id, type, source, subject, sequence, occurred_at, data FROM outbox WHERE subject = :id ORDER BY 5",
        id=subject,
    )
    return [cloud_event(*row) for row in rows]


def take(system: System, *events: CloudEvent) -> None:
    for event in events:
        service.begin(system.queue, event)


def is_erased(system: System, owner: Identity, erasure: Erasure) -> bool:
    """Once, with one certificate and one event."""
    after = system.erasure(owner, erasure.id)
    told = [kind for kind, _ in system.events(erasure.id)] == PUBLISHED
    return after.status == "completed" and after.version == 2 and told


def test_its_task_comes_half_an_hour_after_the_request_however_late_the_event(
    system: System, erasure: Erasure, time: Time
) -> None:
    time.advance(minutes=20)
    take(system, *published(system, erasure.id))
    assert [task.schedule_time for task in system.queue.tasks] == [START + timedelta(minutes=30)]


@pytest.mark.parametrize("times", [2, 3])
def test_an_event_that_comes_again_makes_no_other_task(
    system: System, owner: Identity, erasure: Erasure, times: int
) -> None:
    """At once, or when the erasure is done."""
    take(system, *published(system, erasure.id) * times)
    assert len(system.queue.tasks) == 1
    system.work()
    take(system, *published(system, erasure.id) * times)
    assert system.queue.tasks == []
    assert is_erased(system, owner, erasure)


@pytest.mark.parametrize("made", [False, True], ids=["before its task is made", "after its task was made"])
def test_killed_it_takes_the_event_again(
    system: System, owner: Identity, erasure: Erasure, monkeypatch: pytest.MonkeyPatch, made: bool
) -> None:
    """Nothing is acknowledged, so Pub/Sub delivers it again."""
    enqueue = system.queue.enqueue

    def dying(task: Task) -> bool:
        if made:
            enqueue(task)
        raise Killed

    with monkeypatch.context() as killing:
        killing.setattr(system.queue, "enqueue", dying)
        with pytest.raises(Killed):
            take(system, *published(system, erasure.id))
    assert len(system.queue.tasks) == made
    take(system, *published(system, erasure.id))
    assert len(system.queue.tasks) == 1
    system.work()
    assert is_erased(system, owner, erasure)


def test_an_event_is_not_acknowledged_while_cloud_tasks_is_down(system: System, erasure: Erasure) -> None:
    system.queue.down = True
    with pytest.raises(Unavailable):
        take(system, *published(system, erasure.id))
    system.queue.down = False
    take(system, *published(system, erasure.id))
    assert len(system.queue.tasks) == 1


def test_an_event_that_never_comes_is_made_good_by_the_watchdog_and_changes_nothing_when_it_does(
    system: System, owner: Identity, erasure: Erasure, time: Time
) -> None:
    time.advance(minutes=46)
    assert erasing.watch(system.database, system.queue) == 1
    system.work()
    assert is_erased(system, owner, erasure)
    before = system.erasure(owner, erasure.id)
    take(system, *published(system, erasure.id))
    system.work()
    assert system.erasure(owner, erasure.id) == before
    assert is_erased(system, owner, erasure)


def test_the_end_that_comes_before_the_request_begins_nothing(
    system: System, owner: Identity, erasure: Erasure, time: Time
) -> None:
    time.advance(minutes=46)
    erasing.watch(system.database, system.queue)
    system.work()
    requested, ended = published(system, erasure.id)
    take(system, ended)
    assert system.queue.tasks == []
    take(system, requested, ended)
    assert len(system.queue.tasks) == 1
    system.work()
    assert is_erased(system, owner, erasure)


@pytest.mark.parametrize("first", ["export", "erasure"])
def test_an_export_and_an_erasure_may_be_begun_in_either_order(system: System, owner: Identity, first: str) -> None:
    export = system.request_export(owner)
    erasure = system.request_erasure(owner)
    events = [*published(system, export.id), *published(system, erasure.id)]
    take(system, *(events if first == "export" else reversed(events)))
    assert len(system.queue.tasks) == 2
    system.work(times=2)
    assert is_erased(system, owner, erasure)
    assert system.export(owner, export.id).failure == "erased"
    assert system.archives.objects == {}
