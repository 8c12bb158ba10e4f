"""Mistakes in the relay, in consumers of events and in the delivery of webhooks."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import kapas.http.calls
import kapas.messaging.events
import kapas.messaging.inbox
from kapas.values import clock
from tests.simulation.fleet import Functions
from tests.simulation.mutants import Patch, instead, mutant


def _webhooks(functions: Functions) -> Iterator[Any]:
    """The services of webhook delivery: each function has one of its own."""
    for name in ("webhook-endpoints", "webhook-fan-out", "webhook-attempt", "webhook-watchdog"):
        yield functions.module(name).service


def _relay(functions: Functions) -> Any:
    return functions.module("outbox-relay").service


# The relay


@mutant(40)
def publish_after_marking(functions: Functions) -> Iterator[Patch]:
    """Events are marked, the transaction commits, then they are published: killed in between, they are lost."""
    service = _relay(functions)

    def publish_batch(database: Any, bus: Any) -> tuple[int, int]:
        with database.session("*") as db, db.transaction():
            rows = service.store.claim(db, service.BATCH)
            if rows:
                service.store.mark_published(db, [row.event_id for row in rows], clock.now())
        service._publish(bus, rows)
        return len(rows), []

    yield service, "_publish_batch", publish_batch


@mutant(40)
def every_event_counts_as_published(functions: Functions) -> Iterator[Patch]:
    """What Pub/Sub did not take is marked too."""
    service = _relay(functions)

    def publish(bus: Any, rows: list[Any]) -> list[None]:
        bus.publish([row.message() for row in rows])
        return [None] * len(rows)

    yield service, "_publish", publish


@mutant(60)
def relay_remembers_where_it_was(functions: Functions) -> Iterator[Patch]:
    """`event_id > last` instead of what is unpublished: a commit that comes late is skipped, and so is a failure."""
    service = _relay(functions)
    store = service.store
    last: list[Any] = []

    def claim(db: Any, limit: int) -> list[Any]:
        fleet = functions.fleet
        if not last or last[0] is not fleet:
            last[:] = [fleet, None]
        sql = store._CLAIM.split("SELECT o.event_id", 1)[1]
        columns = "SELECT o.event_id" + sql.split("FROM outbox", 1)[0]
        rows = db.run(
            f"""{columns} FROM outbox o WHERE :last::uuid IS NULL OR event_id > :last::uuid
                ORDER BY event_id LIMIT :limit""",
            last=last[1],
            limit=limit,
        )
        claimed = [store.OutboxRow(*row) for row in rows]
        if claimed:
            last[1] = claimed[-1].event_id
        return claimed

    yield store, "claim", claim


@mutant(60)
def relay_publishes_backwards(functions: Functions) -> Iterator[Patch]:
    """The last event of an aggregate leaves first, and holds up those that it waits for."""
    store = _relay(functions).store
    yield (
        store,
        "_CLAIM",
        instead(store._CLAIM, ("ORDER BY o.subject, o.sequence LIMIT", "ORDER BY o.subject, o.sequence DESC LIMIT")),
    )


# The consumers


@mutant(60, "crash", stories=("listens", "trades"))
def inbox_outside_the_transaction(functions: Functions) -> Iterator[Patch]:
    """The inbox commits before the effect: killed in between, the effect never comes."""
    accept = kapas.messaging.inbox.accept

    def accept_and_commit(db: Any, consumer: str, event: Any) -> bool:
        accepted = accept(db, consumer, event)
        db.command("COMMIT")
        db.command("BEGIN")
        return accepted

    yield kapas.messaging.inbox, "accept", accept_and_commit


@mutant(150)
def inbox_takes_gaps(functions: Functions) -> Iterator[Patch]:
    """An event that came too early is taken in, and the one before it counts as a duplicate."""
    accept = kapas.messaging.inbox.accept

    def accept_gaps(db: Any, consumer: str, event: Any) -> bool:
        try:
            return accept(db, consumer, event)
        except kapas.messaging.events.SequenceGap:
            return True

    service = functions.module("live-feed").service

    def project(documents: Any, event: Any) -> None:
        path = service.projections.path(event)
        if path is not None:
            documents.update(path, lambda document: service.projections.apply(document or {}, event))

    yield kapas.messaging.inbox, "accept", accept_gaps
    yield service, "project", project


@mutant(60)
def live_feed_goes_back(functions: Functions) -> Iterator[Patch]:
    """A duplicate is applied again."""
    service = functions.module("live-feed").service

    def project(documents: Any, event: Any) -> None:
        path = service.projections.path(event)

        def apply(document: Any) -> Any:
            if document is None and event.sequence > 1:
                raise kapas.messaging.events.SequenceGap
            return service.projections.apply(document or {}, event)

        if path is not None:
            documents.update(path, apply)

    yield service, "project", project


@mutant(40)
def acknowledged_before_the_work(functions: Functions) -> Iterator[Patch]:
    """A failure of a consumer is answered as a success."""
    answer = kapas.http.calls.answer

    def acknowledge(request: Any, settings: Any, work: Any) -> Any:
        response = answer(request, settings, work)
        response.status_code = 204
        return response

    yield kapas.http.calls, "answer", acknowledge


@mutant(40)
def audit_trail_overwrites(functions: Functions) -> Iterator[Patch]:
    """A duplicate replaces the row that is there."""
    store = functions.module("audit-trail").service.store
    change = ("DO NOTHING", "DO UPDATE SET recorded_at = excluded.recorded_at")
    yield store, "_APPEND", instead(store._APPEND, change)


# Webhooks


_FREE = "(m.lease_until IS NULL OR m.lease_until < :now)"


@mutant(120, stories=("listens", "trades"))
def claimed_under_a_live_lease(functions: Functions) -> Iterator[Patch]:
    """Whoever comes claims, also what somebody else is sending."""
    for service in _webhooks(functions):
        yield service.store, "_CLAIM", instead(service.store._CLAIM, (_FREE, "true"))


@mutant(200, "duplicate", stories=("listens", "trades"))
def claimed_after_a_look(functions: Functions) -> Iterator[Patch]:
    """Whether a message is free is read first and relied on later: two look, and both claim."""
    for service in _webhooks(functions):
        store = service.store
        claim, text = store.claim, instead(store._CLAIM, (_FREE, "true"))

        def look(db: Any, message_id: Any, number: int, token: Any, now: Any, until: Any, claim: Any = claim) -> Any:
            free = db.one(
                "SELECT FROM webhook_messages m WHERE m.id = :id AND (m.lease_until IS NULL OR m.lease_until < :now)",
                id=message_id,
                now=now,
            )
            return None if free is None else claim(db, message_id, number, token, now, until)

        yield store, "_CLAIM", text
        yield store, "claim", look


@mutant(120, "freeze", "receiver_down", stories=("listens", "trades"))
def no_fencing(functions: Functions) -> Iterator[Patch]:
    """Who lost its lease records its result all the same, and the number of its attempt does not stop it either."""
    for service in _webhooks(functions):
        text = instead(
            service.store._RECORD,
            ("AND lease_token = :lease_token", "AND :lease_token::uuid IS NOT NULL"),
            ("FROM message\n    RETURNING", "FROM message\n    ON CONFLICT DO NOTHING RETURNING"),
        )
        yield service.store, "_RECORD", text


@mutant(60, stories=("listens", "trades"))
def jitter_makes_it_early(functions: Functions) -> Iterator[Patch]:
    """The jitter is subtracted from a wait."""
    for service in _webhooks(functions):
        yield service.schedule, "JITTER", -0.2


@mutant(60, stories=("listens", "trades"))
def gives_up_early(functions: Functions) -> Iterator[Patch]:
    """The last wait of the schedule is forgotten."""
    for service in _webhooks(functions):
        yield service.schedule, "SCHEDULE", service.schedule.SCHEDULE[:-1]


@mutant(60, stories=("listens", "trades"))
def reaper_finds_nothing(functions: Functions) -> Iterator[Patch]:
    """What lost its task is never sent."""
    service = functions.module("webhook-watchdog").service
    yield service, "OVERDUE", timedelta(days=365)


@mutant(60, stories=("listens", "trades"))
def reaper_repeats_the_last_attempt(functions: Functions) -> Iterator[Patch]:
    """The watchdog's task names the attempt that was made, which nobody makes again."""
    store = functions.module("webhook-watchdog").service.store
    yield store, "_DUE", instead(store._DUE, ("attempt_count + 1", "attempt_count"))


@mutant(60, stories=("listens", "trades"))
def fan_out_tells_everybody(functions: Functions) -> Iterator[Patch]:
    """Every endpoint is told of every event."""
    store = functions.module("webhook-fan-out").service.store
    change = ("partner_id = ANY(:partner_ids)", "(partner_id = ANY(:partner_ids) OR true)")
    yield store, "_SUBSCRIBERS", instead(store._SUBSCRIBERS, change)


@mutant(120, stories=("listens", "trades"))
def missed_while_disabled_is_lost(functions: Functions) -> Iterator[Patch]:
    """There is no message of what happens while an endpoint is disabled, so that nothing can be recovered."""
    store = functions.module("webhook-fan-out").service.store
    yield store, "_SUBSCRIBERS", instead(store._SUBSCRIBERS, ("status <> 'deleted'", "status = 'enabled'"))


@mutant(60, stories=("listens", "trades"))
def recovers_only_what_was_tried(functions: Functions) -> Iterator[Patch]:
    """What an endpoint missed while it was disabled is not sent when its owner asks for it."""
    store = functions.module("webhook-endpoints").service.store
    change = ("status IN ('exhausted', 'discarded')", "status = 'exhausted'")
    yield store, "_RECOVERABLE", instead(store._RECOVERABLE, change)


@mutant(60, stories=("listens", "trades"))
def timeouts_count_as_delivered(functions: Functions) -> Iterator[Patch]:
    """No answer is taken for a good one."""
    for service in _webhooks(functions):
        yield service.sending.Reply, "taken", property(lambda reply: reply.status is None or 200 <= reply.status <= 299)


@mutant(60, "receiver_down", stories=("listens", "trades"))
def breaker_never_half_opens(functions: Functions) -> Iterator[Patch]:
    """No attempt finds out whether a spared endpoint is back: its messages wait for ever."""
    for service in _webhooks(functions):
        yield (
            service.store,
            "_PROBE",
            instead(service.store._PROBE, ("WHERE id = :id AND", "WHERE id = :id AND false AND")),
        )


@mutant(60, stories=("listens", "trades"))
def an_endpoint_hears_of_itself(functions: Functions) -> Iterator[Patch]:
    """An event about an endpoint is sent to that endpoint, too."""
    store = functions.module("webhook-fan-out").service.store
    change = ("id IS DISTINCT FROM :about::uuid", "(id IS DISTINCT FROM :about::uuid OR true)")
    yield store, "_SUBSCRIBERS", instead(store._SUBSCRIBERS, change)


@mutant(60, "receiver_hostile", stories=("listens", "trades"))
def disabled_in_silence(functions: Functions) -> Iterator[Patch]:
    """An endpoint that answers 410 is disabled without an event."""
    store = functions.module("webhook-attempt").service.store
    change = ("SELECT version FROM endpoint WHERE status = 'disabled'", "SELECT version FROM endpoint WHERE false")
    yield store, "_RECORD", instead(store._RECORD, change)


@mutant(60, stories=("listens", "trades"))
def exhausted_in_silence(functions: Functions) -> Iterator[Patch]:
    """A message is exhausted without an event."""
    store = functions.module("webhook-attempt").service.store
    change = (
        "SELECT exhaustions FROM message WHERE :announced",
        "SELECT exhaustions FROM message WHERE :announced AND false",
    )
    yield store, "_RECORD", instead(store._RECORD, change)
