"""A task is tried as often as its queue says, and its end without success is told of, once."""

import json

import pytest
from flask import Flask, Response, request
from pydantic import BaseModel

from kapas.errors import Unavailable
from kapas.http import calls
from kapas.messaging import tasks
from kapas.platform.settings import HandlerSettings

ATTEMPTS = 4


class Payload(BaseModel):
    number: int


@pytest.fixture(autouse=True)
def anybody_may_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "authenticate", lambda *_: "tasks@example.com")


def dispatch(retry: int | None, failure: Exception | None, body: str = '{"number": 1}') -> Response:
    """One try of the task `t`, the `retry`th after the first, whose work raises `failure`."""
    settings = HandlerSettings(
        function="f", project="p", service_audience="a", allowed_callers="c", task_attempts=ATTEMPTS
    )
    headers = {"X-CloudTasks-TaskName": "t"} | ({} if retry is None else {"X-CloudTasks-TaskRetryCount": str(retry)})

    def work(payload: Payload) -> None:
        if failure is not None:
            raise failure

    with Flask("tasks").test_request_context("/", method="POST", data=body, headers=headers):
        return tasks.handle(request, settings, Payload, work)


def logged(capsys: pytest.CaptureFixture[str], event: str) -> list[dict[str, str]]:
    entries = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [entry for entry in entries if entry["message"] == event]


@pytest.mark.parametrize("failure", [ValueError("wrong"), Unavailable("Later.")])
def test_work_that_always_fails_is_told_of_once_at_its_last_try(
    failure: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    told = []
    for retry in range(ATTEMPTS):
        assert dispatch(retry, failure).status_code >= 500
        told.append(logged(capsys, "task_given_up"))
    assert [len(entries) for entries in told] == [0, 0, 0, 1]
    (entry,) = told[-1]
    assert (entry["severity"], entry["task"], entry["exception"]) == ("ERROR", "t", type(failure).__name__)
    assert "test_tasks.py" in entry["raised_at"]


def test_work_that_succeeds_at_its_last_try_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(ATTEMPTS - 1, None).status_code == 204
    assert not logged(capsys, "task_given_up")


def test_a_call_that_is_not_from_a_queue_is_the_first_try(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(None, ValueError()).status_code == 500
    assert not logged(capsys, "task_given_up")


def test_what_cannot_be_read_is_not_tried_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(0, None, '{"number": "many"}').status_code == 204
    (entry,) = logged(capsys, "task_unreadable")
    assert entry["task"] == "t"
