"""Mistakes in how requests of clients are committed, repeated and shown what is theirs."""

from collections.abc import Iterator
from typing import Any

import kapas.http.app
import kapas.messaging.outbox
import kapas.platform.db
from tests.simulation.fleet import Functions
from tests.simulation.mutants import Patch, mutant


@mutant(60)
def answers_are_not_remembered(functions: Functions) -> Iterator[Patch]:
    """The idempotency key is not stored: a client that repeats a request whose answer was lost has its effect twice."""
    commit = kapas.messaging.outbox.commit
    yield kapas.messaging.outbox, "commit", lambda db, change, *_: commit(db, change)


@mutant(60)
def event_in_a_statement_of_its_own(functions: Functions) -> Iterator[Patch]:
    """The change commits, then its event: killed in between, nobody is told."""
    commit = kapas.messaging.outbox.commit

    def twice(db: Any, change: Any, ticket: Any = None, answer: Any = None) -> None:
        commit(
            db,
            kapas.messaging.outbox.Change(change.sql, change.parameters, (), change.also, change.conflicts),
            ticket,
            answer,
        )
        if change.events:
            commit(db, kapas.messaging.outbox.Change("SELECT 1", {}, change.events))

    yield kapas.messaging.outbox, "commit", twice


@mutant(60)
def market_without_row_security(functions: Functions) -> Iterator[Patch]:
    """Every session shows every partner's rows."""
    show = kapas.platform.db.Session.show
    yield kapas.platform.db.Session, "show", lambda session, _: show(session, "*")
