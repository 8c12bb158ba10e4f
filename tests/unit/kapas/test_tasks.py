"""A task is tried as often as its queue says, and its end without success is told of, once."""

import json

import pytest
from flask import Flask, Response, request
from pydantic import BaseModel

from kapas.errors import Unavailable
from kapas.http import calls
from kapas.http.function import Function
from kapas.platform import settings
from kapas.platform.settings import HandlerSettings

ATTEMPTS = 4
ENVIRONMENT = {
    "FUNCTION": "f",
    "PROJECT": "p",
    "SERVICE_AUDIENCE": "a",
    "ALLOWED_CALLERS": "c",
    "TASK_ATTEMPTS": str(ATTEMPTS),
}


class Payload(BaseModel):
    number: int


@pytest.fixture(autouse=True)
def anybody_may_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "authenticate", lambda *_: "tasks@example.com")
    # An app that another test made would be asked to handle the errors of this one.
    monkeypatch.delattr("functions_framework.errorhandler", raising=False)


def dispatch(retry: int | None, failure: Exception | None, body: str = '{"number": 1}') -> Response:
    """One try of the task `t`, the `retry`th after the first, whose work raises `failure`."""
    function = Function(HandlerSettings)
    headers = {"X-CloudTasks-TaskName": "t"} | ({} if retry is None else {"X-CloudTasks-TaskRetryCount": str(retry)})

    @function.on_task(Payload)
    def work(payload: Payload) -> None:
        if failure is not None:
            raise failure

    with (
        settings.use(ENVIRONMENT),
        Flask("tasks").test_request_context("/", method="POST", data=body, headers=headers),
    ):
        return work(request)


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
