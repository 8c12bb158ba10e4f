"""Changes and their events, written in one statement.

A use case describes what it wants to change as a `Change`; `commit` writes the domain row, the event rows and, for a
client's request, the idempotency row in ONE data-modifying statement: all of it or nothing, in one round trip.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kapas.errors import Problem, VersionConflict
from kapas.messaging.events import Event
from kapas.messaging.idempotency import REMEMBER, Answer, Ticket, row
from kapas.platform import trace
from kapas.platform.db import Session, UniqueViolation


@dataclass(frozen=True, slots=True)
class Change:
    """A data-modifying statement with RETURNING, its parameters, and the events it gives rise to.

    A statement that returns no row changed nothing: its guard (`version = :expected`) found somebody else first.
    """

    sql: str
    parameters: Mapping[str, Any]
    events: tuple[Event, ...] = ()
    also: tuple[str, ...] = ()
    """Further data-modifying statements of the same change; they read `change`, what the first one returned."""
    conflicts: Mapping[str, Problem] = field(default_factory=dict[str, Problem])
    """What to answer when a unique constraint of this name says the row is there already."""


_EVENT = """INSERT INTO outbox
    (event_id, topic, source, type, subject, sequence, data, partner_ids, traceparent, occurred_at)
  SELECT * FROM (VALUES {values})
    AS event (event_id, topic, source, type, subject, sequence, data, partner_ids, traceparent, occurred_at)
  WHERE EXISTS (SELECT FROM change)"""

_VALUE = (
    "(:e{n}_id::uuid, :e{n}_topic, :e{n}_source, :e{n}_type, :e{n}_subject::uuid, :e{n}_sequence::bigint,"
    " :e{n}_data::jsonb, :e{n}_partners::uuid[], :e{n}_trace, :e{n}_time::timestamptz)"
)


@functools.lru_cache(maxsize=256)
def _statement(sql: str, also: tuple[str, ...], events: int, remember: bool) -> str:
    parts = [f"change AS ({sql})"]
    parts += [f"also_{n} AS ({statement})" for n, statement in enumerate(also)]
    if events:
        values = ", ".join(_VALUE.format(n=n) for n in range(events))
        parts.append(f"published AS ({_EVENT.format(values=values)})")
    if remember:
        parts.append(f"remembered AS ({REMEMBER})")
    return f"WITH {', '.join(parts)} SELECT count(*) FROM change"


def commit(db: Session, change: Change, ticket: Ticket | None = None, answer: Answer | None = None) -> None:
    """Write `change`, its events, and the answer to the request that holds `ticket`, if any.

    Raises:
        VersionConflict: the change's guard let nothing through; nothing was written.
        Problem: the one that `change.conflicts` names for the broken constraint.
        UniqueViolation: another constraint, among them the idempotency key's: the request was answered before.
    """
    parameters: dict[str, Any] = dict(change.parameters)
    current = trace.current()
    for n, event in enumerate(change.events):
        parameters |= {
            f"e{n}_id": event.id,
            f"e{n}_topic": event.data.topic,
            f"e{n}_source": event.data.source,
            f"e{n}_type": event.data.type,
            f"e{n}_subject": event.subject,
            f"e{n}_sequence": event.sequence,
            f"e{n}_data": event.data.model_dump_json(),
            f"e{n}_partners": list(event.partner_ids),
            f"e{n}_trace": str(current) if current else None,
            f"e{n}_time": event.time,
        }
    if ticket is not None and answer is not None:
        parameters |= row(ticket, answer)
    try:
        changed = db.one(_statement(change.sql, change.also, len(change.events), answer is not None), **parameters)
    except UniqueViolation as violation:
        problem = change.conflicts.get(violation.constraint)
        if problem is not None:
            raise problem from None
        raise
    if changed is None or changed[0] == 0:
        raise VersionConflict()


def unchanged(*events: Event) -> Change:
    """A change of no row: `commit` writes only these events and the answer to the request."""
    return Change("SELECT 1", {}, events)


def publish(db: Session, *events: Event) -> None:
    """Write events that record something other than a change of a row, an access for example."""
    commit(db, unchanged(*events))
