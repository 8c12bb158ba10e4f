"""What is logged is one line of JSON, as Cloud Logging reads it."""

import io
import json
import threading
from types import SimpleNamespace

import pytest
from werkzeug.test import Client

from kapas.platform import log, settings
from kapas.platform.db import DatabaseFailure
from local_cloud.environment import Addresses, environment
from local_cloud.functions import load
from tools.catalog import ROOT, catalog


class Calls(io.StringIO):
    """A stream that remembers what each call wrote."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[str] = []

    def write(self, text: str) -> int:
        self.written.append(text)
        return len(text)


@pytest.fixture
def out(monkeypatch: pytest.MonkeyPatch) -> Calls:
    calls = Calls()
    monkeypatch.setattr(log, "sys", SimpleNamespace(stdout=calls))
    return calls


def test_a_line_says_how_bad_and_what(out: Calls) -> None:
    log.warning("outbox_late", seconds=3, subject=None)
    entry = json.loads(out.written[0])
    assert (entry["severity"], entry["message"]) == ("WARNING", "outbox_late")
    assert (entry["seconds"], entry["subject"]) == (3, None)


def test_an_error_says_where_and_not_what(out: Calls) -> None:
    try:
        raise ValueError("27AAPFU0939F1ZV")
    except ValueError as error:
        log.error("call_failed", error)
    assert "27AAPFU0939F1ZV" not in out.written[0]
    assert json.loads(out.written[0])["exception"] == "ValueError"


def test_a_failed_statement_is_told_by_its_codes(out: Calls) -> None:
    log.error("call_failed", DatabaseFailure("42501", "", "permission denied for table partners"))
    log.error("call_failed", DatabaseFailure("23514", "bales_positive", "new row: 27AAPFU0939F1ZV"))
    refused, broken = (json.loads(line) for line in out.written)
    assert (refused["sqlstate"], refused["constraint"]) == ("42501", None)
    assert (broken["sqlstate"], broken["constraint"]) == ("23514", "bales_positive")
    assert "27AAPFU0939F1ZV" not in out.written[1]


@pytest.mark.parametrize(("name", "variable"), [("trade-events", "DATABASE_POOL"), ("live-feed", "ALLOWED_CALLERS")])
def test_a_variable_that_is_missing_is_named(out: Calls, name: str, variable: str) -> None:
    function = catalog().functions[name]
    variables = environment(catalog(), name, Addresses("http://127.0.0.1:8080", "127.0.0.1:8081", 5432))
    del variables[variable]
    _, app = load(ROOT / "functions", function)
    with settings.use(variables):
        answer = Client(app).open(next(iter(function.trigger.routes), "/"), method="POST")
    assert answer.status_code == 500
    assert variable not in answer.text
    assert f"{variable}: Field required" in json.loads(out.written[0])["detail"]


def test_together_is_one_call_in_order(out: Calls) -> None:
    with log.together():
        log.info("first")
        log.info("second")
        assert out.written == []
    log.info("third")
    assert [json.loads(line)["message"] for line in out.written[0].splitlines()] == ["first", "second"]
    assert len(out.written) == 2


def test_together_loses_nothing_to_a_failure_and_holds_nobody_elses(out: Calls) -> None:
    @log.together()
    def fail() -> None:
        log.info("ours")
        other = threading.Thread(target=log.info, args=("theirs",))
        other.start()
        other.join()
        raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert [json.loads(text)["message"] for text in out.written] == ["theirs", "ours"]
