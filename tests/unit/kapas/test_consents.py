"""The check before processing: only a valid grant is a yes, everything else is a no or an error."""

from datetime import timedelta
from typing import Any, cast
from uuid import UUID

import pytest

from functions.consent_updates.schemas import Purpose
from kapas.errors import Unavailable
from kapas.platform.db import ConnectionLost, DatabaseFailure, Session
from kapas.privacy import consents
from kapas.values import clock
from tests.unit.consent_updates.samples import START, SUBJECT

LATER = START + timedelta(days=1)


class Database:
    """Answers with one row, or fails."""

    def __init__(self, row: list[Any] | None, failure: Exception | None = None) -> None:
        self.row = row
        self.failure = failure

    def one(self, sql: str, *, subject_id: UUID, purpose: str) -> list[Any] | None:
        assert (subject_id, purpose) == (SUBJECT, "ai_processing")
        if self.failure:
            raise self.failure
        return self.row


def ask(row: list[Any] | None, failure: Exception | None = None, purpose: str = "ai_processing") -> bool:
    with clock.use(lambda: START):
        return consents.granted(cast(Session, Database(row, failure)), SUBJECT, cast(Purpose, purpose))


def test_a_valid_grant() -> None:
    assert ask(["granted", LATER]) is True


@pytest.mark.parametrize(
    "row",
    [None, ["denied", None], ["withdrawn", None], ["granted", None], ["granted", START], ["denied", LATER]],
    ids=["never asked", "denied", "withdrawn", "no end", "expired this moment", "denied with an end"],
)
def test_anything_else_is_no(row: list[Any] | None) -> None:
    assert ask(row) is False


def test_an_unknown_purpose_is_an_error() -> None:
    with pytest.raises(ValueError, match="profiling"):
        ask(["granted", LATER], purpose="profiling")


@pytest.mark.parametrize("failure", [DatabaseFailure("42501", "", "denied"), ConnectionLost(), Unavailable()])
def test_a_database_that_does_not_answer_is_an_error(failure: Exception) -> None:
    with pytest.raises(type(failure)):
        ask(["granted", LATER], failure)
