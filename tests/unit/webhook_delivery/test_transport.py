"""One delivery over real sockets: to the checked address, under one deadline, whatever the other side does."""

import contextlib
import gzip
import itertools
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from functions.webhook_delivery import transport, wire
from functions.webhook_delivery.sending import Reply
from functions.webhook_delivery.transport import MAX_RESPONSE, HttpSender
from tests.times import PATIENCE

HOST = "hooks.example.com"
BODY = b'{"type":"trade.matched.v1"}'
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Serve = Callable[[socket.socket], None]
Contexts = tuple[ssl.SSLContext, ssl.SSLContext] | tuple[None, None]
"""Of a server and of its client: none is plain http."""


class Server:
    """Accepts connections on loopback and lets `serve` answer each in a thread."""

    def __init__(self, serve: Serve, tls: ssl.SSLContext | None = None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._serve = serve
        self._tls = tls
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://{HOST}:{self.port}/hook"
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._handle, args=(connection,), daemon=True).start()

    def _handle(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            self._serve(self._tls.wrap_socket(connection, server_side=True) if self._tls else connection)

    def sender(
        self, *, tls: ssl.SSLContext | None = None, total: float = PATIENCE, addresses: Sequence[str] = ("127.0.0.1",)
    ) -> HttpSender:
        """A sender that may go to this server, whose name no resolver but its own knows."""
        return HttpSender(
            frozenset({f"{HOST}:{self.port}"}), resolve=lambda host, port: list(addresses), tls=tls, total=total
        )

    def post(self, *, tls: ssl.SSLContext | None = None, total: float = PATIENCE) -> Reply:
        return self.sender(tls=tls, total=total).post(self.url, {"webhook-id": "1"}, BODY)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept, which would hold the port
        self._listener.close()


@contextmanager
def server(serve: Serve, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    running = Server(serve, tls)
    try:
        yield running
    finally:
        running.close()


def read_request(connection: socket.socket) -> bytes:
    """One request with its body; empty when the client closed."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return b""
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    )
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def answering(answer: bytes) -> Serve:
    def serve(connection: socket.socket) -> None:
        while read_request(connection):
            connection.sendall(answer)

    return serve


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts of a server that is `name`, and of a client that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / f"{name}.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(pem)
    return serving, ssl.create_default_context(cadata=signed.public_bytes(serialization.Encoding.PEM).decode())


@pytest.fixture(params=[False, True], ids=["plain", "TLS"])
def contexts(request: pytest.FixtureRequest, tmp_path: Path) -> Contexts:
    return certificate(tmp_path, HOST) if request.param else (None, None)


def test_posts_the_body_with_the_name_as_host() -> None:
    requests: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        requests.append(read_request(connection))
        connection.sendall(b"HTTP/1.1 204 No Content\r\nRetry-After: 7\r\n\r\n")

    with server(serve) as running:
        reply = running.post()
        assert (reply.status, reply.failure, reply.body, reply.retry_after) == (204, None, "", "7")
        assert reply.taken
        head, _, body = requests[0].partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        assert lines[0] == b"POST /hook HTTP/1.1"
        assert f"Host: {HOST}:{running.port}".encode() in lines
        assert b"webhook-id: 1" in lines
        assert b"Accept-Encoding: identity" in lines
        assert body == BODY


def test_keeps_connections() -> None:
    with server(answering(OK)) as running:
        sender = running.sender()
        assert [sender.post(running.url, {}, BODY).body for _ in range(3)] == ["ok"] * 3
        assert running.connections == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_follows_no_redirect(status: int) -> None:
    with server(answering(OK)) as target:
        answer = f"HTTP/1.1 {status} Moved\r\nLocation: http://127.0.0.1:{target.port}/\r\nContent-Length: 0\r\n\r\n"
        with server(answering(answer.encode())) as running:
            reply = running.post()
        assert (reply.status, reply.taken) == (status, False)
        assert target.connections == 0


def test_reads_only_the_beginning_of_an_answer_and_hangs_up() -> None:
    hung_up = threading.Event()

    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 500 No\r\nContent-Length: 99999999\r\n\r\n" + b"x" * MAX_RESPONSE)
        if connection.recv(1) == b"":
            hung_up.set()

    with server(serve) as running:
        sender = running.sender()
        reply = sender.post(running.url, {}, BODY)
        assert (reply.status, reply.failure, len(reply.body)) == (500, None, MAX_RESPONSE)
        assert hung_up.wait(PATIENCE)
        assert sender.post(running.url, {}, BODY).status == 500


def test_does_not_unpack_an_answer() -> None:
    packed = gzip.compress(b"0" * 1_000_000)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n".encode()
    with server(answering(head + packed)) as running:
        reply = running.post()
    assert reply.taken
    assert len(reply.body) <= len(packed)


def test_reads_chunks() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    with server(answering(chunked)) as running:
        sender = running.sender()
        assert [sender.post(running.url, {}, BODY).body for _ in range(2)] == ["abcde", "abcde"]
        assert running.connections == 1


# Deadlines


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> float:
    """A total of seconds of a clock that moves on by one at each look: so many waits on a socket, however fast they are."""
    ticks = itertools.count()
    clock = SimpleNamespace(monotonic=lambda: float(next(ticks)))
    for module in (transport, wire):
        monkeypatch.setattr(module, "time", clock)
    total = 50.0
    monkeypatch.setattr(transport, "CONNECT_SECONDS", total)
    return total


def trickling(start: bytes, piece: bytes) -> Callable[[threading.Event], Serve]:
    """Sends `piece` again and again, each time well within what a socket's timeout would allow."""

    def make(done: threading.Event) -> Serve:
        def serve(connection: socket.socket) -> None:
            read_request(connection)
            connection.sendall(start)
            while not done.wait(0.002):
                connection.sendall(piece)

        return serve

    return make


@pytest.mark.parametrize(
    ("start", "piece", "status"),
    [
        (b"", b"H", None),
        (b"HTTP/1.1 200 OK\r\nX: ", b"x", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n", b"x", 200),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", 200),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x", 200),
    ],
)
def test_a_trickle_ends_at_the_deadline(
    start: bytes, piece: bytes, status: int | None, contexts: Contexts, ticking: float
) -> None:
    done, (serving, trusting) = threading.Event(), contexts
    with server(trickling(start, piece)(done), serving) as running:
        reply = running.post(total=ticking, tls=trusting)
        done.set()
    assert (reply.status, reply.failure, reply.taken) == (status, "timeout", False)
    assert reply.milliseconds >= ticking * 1000


def test_a_flood_ends_at_the_deadline(contexts: Contexts, ticking: float) -> None:
    """There is always something to read, so that nothing waits."""
    serving, trusting = contexts

    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
        while True:
            connection.sendall(b"Trailer: 1\r\n" * 1000)

    with server(serve, serving) as running:
        reply = running.post(total=ticking, tls=trusting)
    assert reply.failure == "timeout"
    assert reply.milliseconds >= ticking * 1000


def test_silence_ends_at_the_deadline(contexts: Contexts) -> None:
    done, (serving, trusting) = threading.Event(), contexts

    def serve(connection: socket.socket) -> None:
        read_request(connection)
        done.wait(PATIENCE)

    with server(serve, serving) as running:
        reply = running.post(total=0.2, tls=trusting)
        done.set()
    assert (reply.status, reply.failure) == (None, "timeout")


def test_a_peer_that_reads_slowly_is_left_at_the_deadline(
    contexts: Contexts, ticking: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, (serving, trusting), create = threading.Event(), contexts, socket.create_connection

    def with_a_small_buffer(*arguments: Any) -> socket.socket:  # the sender waits for the reader again and again
        connection = create(*arguments)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
        return connection

    monkeypatch.setattr(socket, "create_connection", with_a_small_buffer)

    def serve(connection: socket.socket) -> None:
        while not done.wait(0.002):  # each write of the sender's makes progress, well within its own timeout
            connection.recv(32 * 1024)

    with server(serve, serving) as running:
        reply = running.sender(total=ticking, tls=trusting).post(running.url, {}, b"x" * 20_000_000)
        done.set()
    assert reply.failure == "timeout"


# What else can go wrong


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 2", b"SSH-2.0-OpenSSH_9.7\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"]
)
def test_a_broken_answer_is_none(answer: bytes) -> None:
    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(answer)

    with server(serve) as running:
        reply = running.post()
    assert (reply.failure, reply.taken) == ("connection", False)


def test_nobody_listens() -> None:
    with server(answering(OK)) as running:
        sender, url = running.sender(), running.url
    reply = sender.post(url, {}, BODY)
    assert (reply.status, reply.failure) == (None, "connection")


def test_the_name_does_not_resolve() -> None:
    def nowhere(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    assert HttpSender(resolve=nowhere).post(f"https://{HOST}/", {}, BODY).failure == "dns"


def test_dials_nothing_when_the_url_or_an_address_is_refused() -> None:
    with server(answering(OK)) as running:
        sender = HttpSender(resolve=lambda host, port: ["93.184.215.14", "127.0.0.1"])
        assert sender.post(f"http://{HOST}:{running.port}/", {}, BODY).failure == "url_refused"
        assert sender.post(f"https://{HOST}:{running.port}/", {}, BODY).failure == "address_refused"
        assert running.connections == 0


def test_an_address_that_was_checked_is_dialled_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    with server(answering(OK)) as running:
        sender = HttpSender(frozenset({f"{HOST}:{running.port}"}), resolve=resolve)
        for seconds, lookups in ((1e9, 1), (1e-9, 3)):
            monkeypatch.setattr(transport, "RESOLVED_SECONDS", seconds)
            for path in ("a", "b"):
                assert sender.post(f"http://{HOST}:{running.port}/{path}", {}, BODY).taken
            assert len(asked) == lookups


def test_a_refused_address_is_looked_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "RESOLVED_SECONDS", 1e9)
    answers = iter([["169.254.169.254"], ["93.184.215.14", "10.0.0.1"]])
    sender = HttpSender(resolve=lambda host, port: next(answers))
    for _ in range(2):
        assert sender.post(f"https://{HOST}/", {}, BODY).failure == "address_refused"
    assert not list(answers)


@pytest.mark.parametrize("order", [["127.0.0.3", "127.0.0.1"], ["127.0.0.1", "127.0.0.3"]])
def test_every_address_that_was_checked_is_tried(order: list[str], contexts: Contexts) -> None:
    serving, trusting = contexts
    with server(answering(OK), serving) as running:
        sender = running.sender(tls=trusting, addresses=order)
        assert [sender.post(running.url, {}, BODY).taken for _ in range(3)] == [True] * 3
        assert running.connections == 1


def test_an_address_that_hangs_leaves_time_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven never answer, and each takes all the time that it is given; the eighth does, and takes the message."""
    create = socket.create_connection
    waits: list[float] = []

    def hang(place: tuple[str, int], timeout: float) -> socket.socket:
        if place[0] == "127.0.0.1":
            return create(place, timeout)
        waits.append(timeout)
        raise TimeoutError

    clock = SimpleNamespace(monotonic=lambda: sum(waits))
    for module in (transport, wire):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(socket, "create_connection", hang)
    with server(answering(OK)) as running:
        dead = [f"127.0.0.{number}" for number in range(2, 9)]
        sender = running.sender(total=15.0, addresses=[*dead, "127.0.0.1"])
        assert sender.post(running.url, {}, BODY).taken
    assert len(waits) == 7
    assert max(waits) <= transport.CONNECT_SECONDS
    assert sum(waits) < 15.0 - 15.0 / 9


def test_what_the_last_address_said_is_the_failure() -> None:
    with server(answering(OK)) as running:
        sender, url = running.sender(addresses=["127.0.0.3", "127.0.0.4"]), running.url
        reply = sender.post(url, {}, BODY)
    assert (reply.status, reply.failure) == (None, "connection")


@pytest.mark.parametrize("status", [b"101 Switching Protocols", b"102 Processing"])
def test_another_protocol_ends_the_attempt_at_once(status: bytes) -> None:
    """The other side says that it will speak something else, or that it is busy, and holds the connection."""
    done = threading.Event()
    answer = b"HTTP/1.1 " + status + b"\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"

    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(answer * (1 if status.startswith(b"101") else 20))
        done.wait(PATIENCE)

    with server(serve) as running:
        reply = running.post()  # which would wait for the end of the test's patience, and time out
        done.set()
    assert not reply.taken
    assert (reply.status, reply.failure) in ((101, None), (None, "connection"))


def test_a_fault_of_ours_is_told_and_not_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def raises(*_: Any) -> Any:
        raise OverflowError

    monkeypatch.setattr(wire.Connection, "body", raises)
    with server(answering(OK)) as running:
        reply = running.post()
    assert (reply.status, reply.failure, reply.taken) == (200, "internal", False)


# TLS


def test_the_certificate_must_be_the_name_s_though_an_address_is_dialled(tmp_path: Path) -> None:
    serving, trusting = certificate(tmp_path, HOST)
    names: list[str | None] = []
    serving.sni_callback = lambda sock, name, context: names.append(name)
    with server(answering(OK), serving) as running:
        sender = running.sender(tls=trusting)
        assert [sender.post(running.url, {}, BODY).taken for _ in range(2)] == [True, True]
        assert running.connections == 1
    assert names == [HOST]


@pytest.mark.parametrize("name", ["other.example.com", "127.0.0.1"])
def test_another_name_s_certificate_is_refused(tmp_path: Path, name: str) -> None:
    serving, trusting = certificate(tmp_path, name)
    with server(answering(OK), serving) as running:
        assert running.sender(tls=trusting).post(running.url, {}, BODY).failure == "tls"


def test_an_unknown_authority_is_refused(tmp_path: Path) -> None:
    serving, _ = certificate(tmp_path, HOST)
    with server(answering(OK), serving) as running:
        assert running.post().failure == "tls"


def test_a_kept_connection_is_of_its_name(tmp_path: Path) -> None:
    """Two names at one address do not share a connection: each is verified."""
    serving, trusting = certificate(tmp_path, HOST)
    with server(answering(OK), serving) as running:
        other = f"other.example.com:{running.port}"
        sender = HttpSender(
            frozenset({f"{HOST}:{running.port}", other}), resolve=lambda host, port: ["127.0.0.1"], tls=trusting
        )
        assert sender.post(running.url, {}, BODY).taken
        assert sender.post(f"https://{other}/hook", {}, BODY).failure == "tls"


def test_much_is_sent_and_read_in_pieces(contexts: Contexts) -> None:
    serving, trusting = contexts
    sent: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        sent.append(read_request(connection))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 15000\r\n\r\n")
        for piece in range(5):
            connection.sendall(str(piece).encode() * 3000)
        read_request(connection)  # the connection stays open

    with server(serve, serving) as running:
        reply = running.sender(tls=trusting, total=10).post(running.url, {}, b"x" * 3_000_000)
    assert reply.body == "".join(str(piece) * 3000 for piece in range(5))
    assert sent[0].endswith(b"x" * 3_000_000)
