"""What a provider answers is a record or `Unavailable`: no bytes of another's make anything else of it."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.partner_onboarding.checks.provider_clients import connect
from functions.partner_onboarding.checks.providers import Providers, ProviderSettings
from kapas.errors import Unavailable

CHECK = UUID(int=1)
OK = b"HTTP/1.1 200 OK\r\n"


class Provider:
    """Answers every request with `answer`, on loopback, and hangs up."""

    def __init__(self) -> None:
        self.answer = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with suppress(OSError), connection:
                    connection.recv(65536)
                    connection.sendall(self.answer)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65536):  # else what was sent may be lost to a reset
                        pass

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.close()


@pytest.fixture(scope="module")
def providers(provider: Provider) -> Providers:
    url = provider.url
    return connect(
        ProviderSettings(function="f", project="p", gst_registry_url=url, bank_verification_url=url, screening_url=url)
    )


def ask_all(providers: Providers) -> list[Any]:
    """What each of the three made of the answer; None where it was none."""
    found: list[Any] = []
    for ask in (
        lambda: providers.gst_registry.lookup("27AAPFU0939F1ZV", "A", CHECK),
        lambda: providers.bank.penny_drop("SBIN0000001", "1", "A", CHECK),
        lambda: providers.screening.search(["A"], CHECK),
    ):
        try:
            found.append(ask())
        except Unavailable:
            found.append(None)
    return found


def as_json(value: Any) -> bytes:
    body = json.dumps(value).encode()
    return OK + f"Content-Length: {len(body)}\r\n\r\n".encode() + body


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["9999-12-31T23:59:59-23:59"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
MEMBERS = st.sampled_from(
    [
        "reference",
        "found",
        "status",
        "legal_name",
        "registered_name",
        "list",
        "hits",
        "version",
        "published_at",
        "score",
    ]
)
RECORDS = st.dictionaries(MEMBERS, VALUES | st.dictionaries(MEMBERS, VALUES), max_size=8)
FIELDS = st.sampled_from(
    [
        b"Content-Length: ", b"Transfer-Encoding: chunked\r\nX: ", b"Content-Encoding: gzip\r\nX: ",
        b"Content-Encoding: deflate\r\nX: ", b"Location: ", b"Connection: ", b":", b"",
    ]
)  # fmt: skip


@given(
    answer=st.binary()
    | RECORDS.map(as_json)
    | st.builds(lambda field, value, body: OK + field + value + b"\r\n\r\n" + body, FIELDS, st.binary(), st.binary())
    | st.builds(lambda status, rest: b"HTTP/1.1 " + status + rest, st.from_regex(rb"\A[0-9]{1,4}"), st.binary())
)
def test_whatever_comes_is_a_record_or_unavailable(provider: Provider, providers: Providers, answer: bytes) -> None:
    provider.answer = answer
    ask_all(providers)


@pytest.mark.parametrize(
    "record",
    [
        {"reference": "r", "found": True, "status": "a\0b", "legal_name": "A"},
        {"reference": "r\0", "found": True},
        {"reference": "r" * 10_000, "found": True},
        {"reference": "r", "found": True, "legal_name": "x" * 10_000},
    ],
)
def test_text_that_no_store_takes_is_no_record(
    provider: Provider, providers: Providers, record: dict[str, Any]
) -> None:
    provider.answer = as_json(record)
    assert ask_all(providers)[0] is None


@pytest.mark.parametrize("score", ["NaN", "Infinity", -0.1, 1.1, 1e400])
def test_a_score_that_is_none_clears_nobody(provider: Provider, providers: Providers, score: Any) -> None:
    published = datetime.now(UTC).isoformat()
    record = {
        "reference": "r",
        "list": {"version": "1", "published_at": published},
        "hits": [{"name": "A", "score": score}],
    }
    provider.answer = as_json(record)
    assert ask_all(providers)[2] is None


def test_a_list_of_the_future_is_not_current(provider: Provider, providers: Providers) -> None:
    record = {"reference": "r", "list": {"version": "1", "published_at": "9999-12-31T23:59:59Z"}, "hits": []}
    provider.answer = as_json(record)
    assert ask_all(providers)[2] is None
