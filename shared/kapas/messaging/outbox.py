"""Changes and their events, written in one statement.

A use case describes what it wants to change as a `Change`; `commit` writes the domain row, the event rows and, for a
client's request, the idempotency row in ONE data-modifying statement: all of it or nothing, in one round trip.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from kapas.errors import Problem, VersionConflict
from kapas.messaging.events import Event, EventData
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
    ":{name}_id::uuid, :{name}_topic, :{name}_source, :{name}_type, :{name}_subject::uuid, {sequence},"
    " :{name}_data::jsonb, :{name}_partners::uuid[], :{name}_trace, :{name}_time::timestamptz"
)

_FOUND = """INSERT INTO outbox
    (event_id, topic, source, type, subject, sequence, data, partner_ids, traceparent, occurred_at)
  SELECT {value} FROM ({found}) AS found (sequence)"""


@functools.lru_cache(maxsize=256)
def _statement(sql: str, also: tuple[str, ...], events: int, remember: bool) -> str:
    parts = [f"change AS ({sql})"]
    parts += [f"also_{n} AS ({statement})" for n, statement in enumerate(also)]
    if events:
        values = ", ".join(
            f"({_VALUE.format(name=f'e{n}', sequence=f':e{n}_sequence::bigint')})" for n in range(events)
        )
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
    for n, event in enumerate(change.events):
        parameters |= _parameters(f"e{n}", event) | {f"e{n}_sequence": event.sequence}
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


def publishing(name: str, found: str) -> str:
    """A statement for a change that decides in SQL whether it publishes an event and with which sequence: the only column of
    the query `found`; no row, no event. `publication` with the same name gives its parameters."""
    value = _VALUE.format(name=name, sequence="found.sequence")
    return _FOUND.format(value=value, found=found)


def publication(name: str, subject: UUID, data: EventData, partner_ids: tuple[UUID, ...]) -> dict[str, Any]:
    """The parameters of `publishing`."""
    return _parameters(name, Event(subject, 0, data, partner_ids))


def _parameters(name: str, event: Event) -> dict[str, Any]:
    """An event's parameters without its sequence."""
    current = trace.current()
    return {
        f"{name}_id": event.id,
        f"{name}_topic": event.data.topic,
        f"{name}_source": event.data.source,
        f"{name}_type": event.data.type,
        f"{name}_subject": event.subject,
        f"{name}_data": event.data.model_dump_json(),
        f"{name}_partners": list(event.partner_ids),
        f"{name}_trace": str(current) if current else None,
        f"{name}_time": event.time,
    }


def unchanged(*events: Event) -> Change:
    """A change of no row: `commit` writes only these events and the answer to the request."""
    return Change("SELECT 1", {}, events)


def publish(db: Session, *events: Event) -> None:
    """Write events that record something other than a change of a row, an access for example."""
    commit(db, unchanged(*events))
