"""What `wire` takes for an answer, and when a connection may be used again."""

import socket
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.webhook_delivery.wire import MAX_HEAD, MAX_INTERIM, Broken, Connection
from tests.times import PATIENCE

OK = b"HTTP/1.1 200 OK\r\n"
MOST = 100


def answered(answer: bytes, most: int = MOST, *, ends: bool = False) -> tuple[int, bytes, bool]:
    """Status, body and whether the connection can be used again, of an answer that is there already."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(answer)
        if ends:
            theirs.shutdown(socket.SHUT_WR)
        connection = Connection(ours)
        head = connection.send(b"POST / HTTP/1.1\r\n\r\n", time.monotonic() + PATIENCE)
        body, reusable = connection.body(head, most)
        return head.status, body, reusable


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", (204, b"", True)),
        (b"HTTP/1.1 204\r\nContent-Length: 5\r\n\r\n", (204, b"", True)),
        (OK + b"Content-Length: 3\r\n\r\nabc", (200, b"abc", True)),
        (b"HTTP/1.1 200 OK\ncontent-length:3\n\nabc", (200, b"abc", True)),
        (OK + b"Content-Length: 3\r\nConnection: Close\r\n\r\nabc", (200, b"abc", False)),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", (200, b"abc", False)),
        (OK + b"Content-Length: 101\r\n\r\n" + b"x" * 101, (200, b"x" * 100, False)),
        (OK + b"Content-Length: 100\r\n\r\n" + b"x" * 100, (200, b"x" * 100, True)),
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n"
            + OK
            + b"Content-Length: 0\r\n\r\n",
            (200, b"", True),
        ),
        (OK + b"Transfer-Encoding: Chunked\r\n\r\n2;name=value\r\nab\r\n0\r\nTrailer: 1\r\n\r\n", (200, b"ab", True)),
        (OK + b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n2\r\nab\r\n0\r\n\r\n", (200, b"ab", True)),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nff\r\n" + b"x" * 255, (200, b"x" * 100, False)),
    ],
)
def test_an_answer_is_read_to_its_end_and_no_further(answer: bytes, expected: tuple[int, bytes, bool]) -> None:
    assert answered(answer) == expected


@pytest.mark.parametrize("fields", [b"", b"Content-Length: 3x\r\n", b"Transfer-Encoding: gzip\r\n"])
def test_without_a_length_it_is_what_comes_until_the_end(fields: bytes) -> None:
    assert answered(OK + fields + b"\r\nabcd", ends=True) == (200, b"abcd", False)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 20\r\n\r\n",
        b"HTTP/1.1\r\n\r\n",
        OK + b"X: " + b"x" * MAX_HEAD,
        OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n0x2\r\nab\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * MAX_HEAD + b"1",
    ],
)
def test_what_is_no_answer_is_broken(answer: bytes) -> None:
    with pytest.raises(Broken):
        answered(answer)


HEADS = st.from_regex(rb"\AHTTP/1\.[01] [0-9]{2,4}[ -~]{0,9}\r?\n(?:[A-Za-z-]{0,18}:[^\n]{0,30}\r?\n){0,4}\r?\n")
FIELDS = st.sampled_from(
    [b"Content-Length: ", b"Transfer-Encoding: chunked\r\nX: ", b"Connection: ", b"Retry-After: ", b":", b""]
)
CHUNKS = st.from_regex(rb"\A(?:[0-9A-Fa-f]{0,17}[ ;x-]{0,3}\r?\n[^\n]{0,20}\r?\n){0,4}")


@given(
    answer=st.binary()
    | st.builds(lambda *parts: b"".join(parts), HEADS, st.binary())
    | st.builds(
        lambda field, value, body: OK + field + value + b"\r\n\r\n" + body, FIELDS, st.binary(), CHUNKS | st.binary()
    )
)
def test_whatever_comes_is_an_answer_or_broken(answer: bytes) -> None:
    try:
        status, body, _ = answered(answer, ends=True)
    except OSError:
        return
    assert 100 <= status <= 999
    assert len(body) <= MOST


@pytest.mark.parametrize("interim", [100, 102, 103, 199])
def test_interim_answers_have_an_end(interim: int) -> None:
    one = f"HTTP/1.1 {interim} Wait\r\n\r\n".encode()
    final = OK + b"Content-Length: 0\r\n\r\n"
    assert answered(one * MAX_INTERIM + final) == (200, b"", True)
    with pytest.raises(Broken):
        answered(one * (MAX_INTERIM + 1) + final)


def test_another_protocol_has_no_body() -> None:
    assert answered(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n") == (101, b"", False)


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200", OK + b"Content-Length: 3\r\n\r\nab", OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nab"],
)
def test_an_answer_that_ends_too_early_is_broken(answer: bytes) -> None:
    with pytest.raises(Broken):
        answered(answer, ends=True)


def test_bytes_that_nobody_asked_for_end_a_connection() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        connection = Connection(ours)
        assert connection.is_idle()
        theirs.sendall(OK + b"Content-Length: 1\r\n\r\nab")
        head = connection.send(b"POST / HTTP/1.1\r\n\r\n", time.monotonic() + PATIENCE)
        assert connection.body(head, MOST) == (b"a", True)
        assert not connection.is_idle()
    ours, theirs = socket.socketpair()
    with ours:
        theirs.close()
        assert not Connection(ours).is_idle()


def test_who_does_not_read_is_given_up_at_the_deadline() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        deadline = time.monotonic() + 0.2
        with pytest.raises(TimeoutError):
            Connection(ours).send(b"x" * 10_000_000, deadline)
        assert time.monotonic() >= deadline


def test_a_request_larger_than_the_sockets_buffer_arrives_whole() -> None:
    ours, theirs = socket.socketpair()
    received = bytearray()

    def read() -> None:
        while len(received) < 1_000_000:
            received.extend(theirs.recv(50_000))
        theirs.sendall(OK + b"Content-Length: 0\r\n\r\n")

    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 3000)  # less than a piece: each is sent in parts
        reader = threading.Thread(target=read)
        reader.start()
        request = bytes(range(250)) * 4000
        assert Connection(ours).send(request, time.monotonic() + PATIENCE).status == 200
        reader.join()
    assert received == request
