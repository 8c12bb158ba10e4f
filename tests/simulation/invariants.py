"""What must hold: during a run by triggers (invariants.sql), and once everything has come to rest."""

import functools
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pg8000.native import Connection, identifier

from kapas.messaging.events import CloudEvent
from kapas.privacy.data_map import data_map
from kapas.values import clock
from tests.simulation.kernel import YESTERDAY
from tests.simulation.rules import consents, erasures, exports, gradings, retention, trades

if TYPE_CHECKING:
    from tests.simulation.world import World

ATTEMPTS = 10
WAITS = tuple(timedelta(seconds=s) for s in (0, 5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400))
"""The least wait before each attempt of a webhook, as its documentation promises."""

_TABLES = """SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = :schema AND c.relkind = 'r' AND c.relname <> 'schema_migrations' ORDER BY c.relname"""

_COLUMNS = """SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid = ('public.' || quote_ident(:table))::regclass
  AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum"""


def prepare(admin: Connection) -> None:
    """Install the triggers."""
    admin.run(Path(__file__).with_name("invariants.sql").read_text())


def tables(admin: Connection, schema: str = "public") -> list[str]:
    return [row[0] for row in admin.run(_TABLES, schema=schema)]


def reset(admin: Connection, template: str = "") -> None:
    """Delete every row, and copy those of the schema `template`. For tables that are nearly empty DELETE is faster than
    TRUNCATE."""
    admin.run(_reset(admin, template))


@functools.cache
def _reset(admin: Connection, template: str) -> str:
    steps = [f"DELETE FROM {identifier(table)}" for table in tables(admin)]
    for table in tables(admin, template) if template else ():
        names = ", ".join(row[0] for row in admin.run(_COLUMNS, table=table))
        steps.append(
            f"INSERT INTO public.{identifier(table)} ({names}) SELECT {names} FROM {template}.{identifier(table)}"
        )
    return f"SET session_replication_role = replica; {'; '.join(steps)}; SET session_replication_role = origin"


def during(admin: Connection) -> list[str]:
    """What the triggers saw."""
    return [f"{what}: {detail}" for what, detail in admin.run("SELECT what, detail FROM violations ORDER BY 1, 2")]


def unfinished(world: "World") -> str:
    """What the database still has to do, in words; empty if nothing."""
    counts = world.server.admin.run(
        f"SELECT {', '.join(f'(SELECT count(*) FROM {rows})' for rows in _UNFINISHED.values())}", closes=world.closes
    )[0]
    return ", ".join(f"{count} {name}" for name, count in zip(_UNFINISHED, counts, strict=True) if count)


_UNFINISHED = {
    "events to publish": "outbox WHERE published_at IS NULL",
    "messages to send": "webhook_messages WHERE status = 'pending'",
    "images to grade": "gradings WHERE status = 'queued'",
    "archives to make": "exports WHERE status = 'preparing'",
    "erasures to do": "erasures WHERE status = 'in_progress'",
    "sweeps to end": "retention_sweeps WHERE status = 'running'",
    "deadlines to meet": "trades WHERE due_at <= :closes",
    "consents to end": "consent_states JOIN restrictions USING (subject_id) WHERE state = 'granted' AND ended_at IS NULL",
}


def at_rest(world: "World") -> list[str]:
    """Every rule that is broken at the end of a run."""
    state = _FinalState(world)
    rules = (state.delivery, state.audit, state.documents, state.inboxes, state.webhooks, state.answers)
    found = [violation for rule in rules for violation in rule()]
    of_capabilities = (
        trades.broken,
        consents.broken,
        gradings.broken,
        exports.broken,
        erasures.broken,
        retention.broken,
    )
    return found + [violation for broken in of_capabilities for violation in broken(world)]


class _FinalState:
    """What the run left behind, read once."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._run = run = world.server.admin.run
        self._events = [
            CloudEvent(
                specversion="1.0",
                id=row[0],
                type=row[1],
                source=row[2],
                subject=row[3],
                time=row[7],
                dataschema="",
                partitionkey=row[3],
                sequence=row[4],
                partnerids=",".join(map(str, row[6])),
                data=row[5],
            )
            for row in run(
                """SELECT event_id, type, source, subject, sequence, data, partner_ids, occurred_at
                   FROM outbox WHERE occurred_at >= :earliest ORDER BY subject, sequence""",
                earliest=YESTERDAY,
            )
        ]
        self._topics = {row[0]: row[1] for row in run("SELECT event_id, topic FROM outbox ORDER BY event_id")}

    def delivery(self) -> Iterator[str]:
        """Nothing was given up, and nothing is on its way."""
        held = Counter(name.rsplit("/", 1)[1] for name in self._world.cloud.undelivered())
        for name, count in held.items():
            if count:
                yield f"still to be delivered, or given up: {count} to {name}"

    def audit(self) -> Iterator[str]:
        """Every event is in the audit trail, once and as it was."""
        kept = {
            row[0]: tuple(row[1:])
            for row in self._run(
                """SELECT event_id, type, subject, sequence, data FROM audit_log WHERE occurred_at >= :earliest
                   ORDER BY event_id""",
                earliest=YESTERDAY,
            )
        }
        published = {event.id: (event.type, event.subject, event.sequence, event.data) for event in self._events}
        for event_id in published.keys() | kept.keys():
            if published.get(event_id) != kept.get(event_id):
                yield f"the audit trail differs: {published.get(event_id)} became {kept.get(event_id)}"

    def documents(self) -> Iterator[str]:
        """Each document is the fold of its events."""
        projections = self._world.functions.module("live-feed").service.projections
        expected: dict[str, Any] = {}
        for event in self._events:
            path = projections.path(event)
            if path is not None:
                expected[path] = projections.apply(expected.get(path, {}), event)
        erased = dict(self._redacted())
        old = {f"{aged.kind.documents}/{aged.id}" for aged in self._world.history}
        stored = {path: document for path, (_, document) in self._world.documents.stored.items() if path not in old}
        for path in sorted(expected.keys() | stored.keys()):
            if path in erased and path in stored and path in expected:
                # What it said of its partner is overwritten, and of later events it keeps the number.
                fields = {name for name, field in erased[path].fields.items() if field.erase == "redact"}
                fields |= {"sequence", "updated_at"}
                redacted = erased[path].redacted(expected[path])
                expected[path], stored[path] = (
                    {name: of.get(name) for name in fields} for of in (redacted, stored[path])
                )
            if expected.get(path) != stored.get(path):
                yield f"the document {path} is {stored.get(path)} and should be {expected.get(path)}"

    def _redacted(self) -> Iterator[tuple[str, Any]]:
        """The documents of partners who were erased, and of their lots that nobody bought."""
        collections = data_map().collections
        for partner_id in self._world.erased:
            yield f"partners/{partner_id}", collections["partners"]
            for row in self._run(
                "SELECT id FROM trades WHERE seller_id = :of AND buyer_id IS NULL ORDER BY id", of=partner_id
            ):
                yield f"trades/{row[0]}", collections["trades"]

    def inboxes(self) -> Iterator[str]:
        """The fan-out has taken in every event of its topics."""
        topics = self._world.functions.catalog.functions["webhook-fan-out"].trigger.topics
        last = {event.subject: event.sequence for event in self._events if self._topics[event.id] in topics}
        seen = dict(self._run("SELECT subject, sequence FROM inbox WHERE consumer = 'webhook-fan-out' ORDER BY 1"))
        if last != seen:
            yield f"the fan-out has taken in {seen} of {last}"

    def webhooks(self) -> Iterator[str]:
        """Every message is delivered, exhausted with its attempts logged, or its endpoint was not to be told."""
        events = {event.id: event for event in self._events}
        endpoints = {
            row[0]: row[1:]
            for row in self._run(
                "SELECT id, partner_id, url, status, version, created_at FROM webhook_endpoints ORDER BY id"
            )
            if row[1] not in self._world.erased
        }
        attempts = defaultdict(list)
        for message_id, *attempt in self._run(
            "SELECT message_id, number, started_at, status_code, failure FROM webhook_attempts ORDER BY 1, 2"
        ):
            attempts[message_id].append(attempt)
        messages = set()
        recovered = {
            response.path.split("/")[3]
            for response in self._world.responses
            if response.ok and response.path.endswith("/recover")
        }
        for message_id, endpoint_id, event_id, status, count, earlier, lease in self._run(
            """SELECT id, endpoint_id, CASE WHEN event_type <> 'webhook.test' THEN event_id END, status, attempt_count,
                 earlier_attempts, lease_token
               FROM webhook_messages
               WHERE created_at >= :earliest ORDER BY id""",
            earliest=YESTERDAY,
        ):
            if endpoint_id not in endpoints:  # its partner was erased: rules/erasures.py is about it
                continue
            partner_id, url, endpoint_status, version, _ = endpoints[endpoint_id]
            messages.add((endpoint_id, event_id))
            made, event = attempts[message_id], events.get(event_id)
            if event_id is not None and (event is None or partner_id not in event.partner_ids):
                yield f"a message of an event that is not for its partner: {event_id}"
            if lease is not None:
                yield "a lease is still held"
            yield from _attempts(status, count, earlier, made)
            if status == "discarded" and endpoint_status == "enabled" and version == 1:
                yield "a message was discarded though its endpoint always listened"
            if (
                status == "discarded"
                and (endpoint_status, version) == ("enabled", PAUSED)
                and str(endpoint_id) in recovered
            ):
                yield "a message was lost that its endpoint missed and its owner had recovered"
            inbox = self._world.receiver.inboxes.get(url)
            if status == "delivered" and (inbox is None or str(message_id) not in inbox.taken):
                yield "a message counts as delivered that its endpoint has not taken"
        for endpoint_id, (partner_id, _, status, _, created_at) in endpoints.items():
            if status == "deleted":
                continue
            for event in self._events:
                due = partner_id in event.partner_ids and event.type != "audit.data_accessed.v1"
                if due and event.time > created_at + SETTLED and (endpoint_id, event.id) not in messages:
                    yield f"an endpoint has no message of {event.type} {event.sequence}, sent or to recover"

    def answers(self) -> Iterator[str]:
        """What clients were told is so: the version exists, and of a trade it is what they were told."""
        versions = {(str(event.subject), event.sequence): event for event in self._events}
        for response in self._world.responses:
            if not response.ok or not isinstance(response.body, dict) or response.method != "POST":
                continue
            if not response.path.startswith(AGGREGATES) or response.path.endswith("/download-link"):
                continue
            body = response.body.get("trade", response.body)
            event = versions.get((body["id"], body["version"]))
            if event is None:
                yield f"{response.step} was told of version {body['version']}, which is not there"
            elif response.path.startswith("/v1/trades") and _instant(body["updated_at"]) != clock.rfc3339(event.time):
                yield f"{response.step} was told of a change that was another's"


AGGREGATES = ("/v1/trades", "/v1/partners", "/v1/gradings", "/v1/exports", "/v1/erasures", "/v1/retention-sweeps")
"""What has an id, a version, and an event for each of them."""
PAUSED = 3
"""The version of an endpoint that was disabled and enabled once, and not by itself since."""
SETTLED = timedelta(seconds=10)
"""By how much the clocks of two instances may differ, and some: who was created so much earlier was there before."""


def _attempts(status: str, count: int, earlier: int, made: list[Any]) -> Iterator[str]:
    """`earlier` are those before the message was sent anew, which nobody has done twice: the waits began again then."""
    if [attempt[0] for attempt in made] != list(range(1, count + 1)):
        yield f"a message with {count} attempts has {[attempt[0] for attempt in made]} logged"
    if status == "pending":
        yield "a message is still pending"
    if status == "exhausted" and count - earlier != ATTEMPTS:
        yield f"a message was given up after {count} attempts"
    if status == "delivered" and not (made and made[-1][2] is not None and 200 <= made[-1][2] < 300):
        yield "a message counts as delivered without an attempt that was"
    for before, after in itertools.pairwise(made):
        number = before[0]
        wait = timedelta(0) if number == earlier else WAITS[number - earlier if number > earlier else number]
        if after[1] - before[1] < wait:
            yield f"attempt {after[0]} came {after[1] - before[1]} after the one before it"


def _instant(text: str) -> str:
    return clock.rfc3339(datetime.fromisoformat(text))
