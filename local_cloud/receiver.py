"""A webhook receiver for the local cloud: verifies what arrives by Standard Webhooks v1, lists it, and fails on demand.

    PUT  /_local/receiver/<name>  {"secret": "whsec_...", "answers": [{"status": 500, "times": 2}]}   both optional
    POST /_local/receiver/<name>  a delivery
    GET  /_local/receiver/<name>  what came, oldest first
    GET  /_local/receiver         the names

The signature is computed by the independent `standardwebhooks` package. Its `verify` compares the timestamp with the
system's clock, while the local cloud's may have been moved; so its `sign` gives the signature that should have come,
and the timestamp is held to the same five minutes by this clock.
"""

import base64
import binascii
import hmac
import json
import threading
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.client import responses
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from standardwebhooks import Webhook

from kapas.values.clock import Clock, rfc3339
from local_cloud.state import State

PREFIX = "/_local/receiver"
TOLERANCE = timedelta(minutes=5)
"""How far a timestamp may be from now, either way (the package's own rule)."""
HANG = 3600.0
"""A delay that outlasts every caller's patience; `Receiver.release` ends it."""

_KEPT = 1000
_KIND = "receiver"


@dataclass(frozen=True, slots=True)
class Answer:
    """What to answer, whatever the signature, to the next `times` deliveries; to all if None."""

    status: int
    times: int | None = 1
    delay: float = 0.0
    """Seconds of real time until the answer; `HANG` for none."""
    retry_after: str | int | None = None
    """The Retry-After header: seconds or an HTTP date."""

    def __post_init__(self) -> None:
        if not (200 <= self.status <= 599 and 0 <= self.delay <= HANG and (self.times is None or self.times > 0)):
            raise ValueError("an answer has a status of 200 to 599, a delay of 0 to 3600 s, and times of 1 or more")


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request that came."""

    time: datetime
    webhook_id: str
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes
    fault: str | None
    """Why the signature was not accepted; None if it was."""
    seen: int
    """How often this webhook-id has come, this time included."""
    status: int
    """The answer."""

    @property
    def verified(self) -> bool:
        return self.fault is None

    def to_json(self) -> dict[str, Any]:
        return {
            "time": rfc3339(self.time),
            "webhook_id": self.webhook_id,
            "headers": dict(self.headers),
            "body": self.body.decode(errors="replace"),
            "verified": self.verified,
            "fault": self.fault,
            "seen": self.seen,
            "status": self.status,
        }


@dataclass(slots=True)
class _Endpoint:
    secrets: list[str] = field(default_factory=list)
    answers: deque[Answer] = field(default_factory=deque)
    deliveries: deque[Delivery] = field(default_factory=lambda: deque(maxlen=_KEPT))
    seen: Counter[str] = field(default_factory=Counter)

    def next_answer(self) -> Answer | None:
        """Take one use of the first answer that was asked for."""
        if not self.answers:
            return None
        answer = self.answers.popleft()
        if answer.times is None:
            self.answers.appendleft(answer)
        elif answer.times > 1:
            self.answers.appendleft(replace(answer, times=answer.times - 1))
        return answer


def fault_of(secrets: Iterable[str], headers: Mapping[str, str], body: bytes, now: datetime) -> str | None:
    """Why a delivery fails Standard Webhooks v1 under each of `secrets`; None if it passes under one.

    Checks what the specification asks: the three headers, the timestamp within five minutes of `now`, and one v1
    signature of `id.timestamp.body` among those in the header.
    """
    identifier, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    given = headers.get("webhook-signature", "")
    if not (identifier and stamp and given):
        return "a webhook header is missing"
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 11):
        return "the timestamp is not in Unix seconds"
    time = datetime.fromtimestamp(int(stamp), UTC)
    if abs(now - time) > TOLERANCE:
        return "the timestamp is too old" if time < now else "the timestamp is too new"
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return "the body is not UTF-8"
    expected = [Webhook(secret).sign(identifier, time, text) for secret in secrets]
    if any(hmac.compare_digest(one.encode(), other.encode()) for one in given.split(" ") for other in expected):
        return None
    return "no signature matches"


class Receiver:
    """A WSGI application of named endpoints, each with its secrets.

    Names and secrets outlive a restart in `state`; what came does not.
    """

    def __init__(self, clock: Clock, state: State | None = None) -> None:
        self._clock = clock
        self._state = state or State()
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._endpoints = {name: _Endpoint(json.loads(value)) for name, value in self._state.items(_KIND)}

    def add(self, name: str, secret: str | None = None) -> None:
        """Make the endpoint `name` if there is none, and have it accept `secret` (`whsec_` and base64) as well.

        During a rotation an endpoint has both secrets. Raises ValueError if it is no secret.
        """
        if secret is not None:
            _check_secret(secret)
        with self._lock:
            endpoint = self._endpoints.setdefault(name, _Endpoint())
            if secret is not None and secret not in endpoint.secrets:
                endpoint.secrets.append(secret)
            self._save(name, endpoint)

    def retire(self, name: str, secret: str) -> None:
        """Accept `secret` no longer. Raises KeyError for an unknown name, ValueError for an unknown secret."""
        with self._lock:
            endpoint = self._endpoints[name]
            endpoint.secrets.remove(secret)
            self._save(name, endpoint)

    def answer(self, name: str, *answers: Answer) -> None:
        """Answer the coming deliveries so, in this order; after them, and with none, 200 if verified and 401 if not.

        Raises KeyError for an unknown name.
        """
        with self._lock:
            self._endpoints[name].answers = deque(answers)

    def deliveries(self, name: str) -> list[Delivery]:
        """What came, oldest first; the last thousand."""
        with self._lock:
            return list(self._endpoints[name].deliveries)

    def release(self) -> None:
        """Answer at once whatever is being delayed, and delay nothing from here on: the receiver is being stopped."""
        self._released.set()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        name = environ.get("PATH_INFO", "").removeprefix(PREFIX).strip("/")
        method = environ["REQUEST_METHOD"]
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        status, headers, answer = self._respond(method, name, _headers(environ), body)
        payload = json.dumps(answer).encode()
        sent = [*headers.items(), ("Content-Type", "application/json"), ("Content-Length", str(len(payload)))]
        start_response(f"{status} {responses.get(status, 'Unassigned')}", sent)
        return [payload]

    def _respond(
        self, method: str, name: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], Any]:
        if method == "PUT" and name:
            return self._put(name, body)
        with self._lock:
            names = sorted(self._endpoints)
        if name and name not in names:
            return 404, {}, {"detail": "no such endpoint: PUT it first"}
        if method == "GET":
            return 200, {}, {"data": [one.to_json() for one in self.deliveries(name)] if name else names}
        if method == "POST" and name:
            return self._deliver(name, headers, body)
        return 405, {"Allow": "GET, PUT, POST" if name else "GET"}, {"detail": "the method does not fit"}

    def _put(self, name: str, body: bytes) -> tuple[int, Mapping[str, str], Any]:
        try:
            wish = json.loads(body or b"{}")
            answers = [Answer(**answer) for answer in wish.get("answers", [])]
            self.add(name, wish.get("secret"))
        except (ValueError, TypeError, AttributeError):
            return 422, {}, {"detail": 'expected {"secret": "whsec_...", "answers": [{"status": 500, "times": 2}]}'}
        if "answers" in wish:
            self.answer(name, *answers)
        return 200, {}, {"url": f"{PREFIX}/{name}"}

    def _deliver(self, name: str, headers: Mapping[str, str], body: bytes) -> tuple[int, Mapping[str, str], Any]:
        identifier = headers.get("webhook-id", "")
        with self._lock:
            endpoint = self._endpoints[name]
            now = self._clock()
            fault = fault_of(endpoint.secrets, headers, body, now)
            answer = endpoint.next_answer() or Answer(401 if fault else 200)
            endpoint.seen[identifier] += 1
            seen = endpoint.seen[identifier]
            endpoint.deliveries.append(Delivery(now, identifier, headers, body, fault, seen, answer.status))
        if answer.delay:
            self._released.wait(answer.delay)
        more = {} if answer.retry_after is None else {"Retry-After": str(answer.retry_after)}
        return answer.status, more, {"verified": fault is None, "fault": fault}

    def _save(self, name: str, endpoint: _Endpoint) -> None:
        self._state.put(_KIND, name, json.dumps(endpoint.secrets).encode())


def _check_secret(secret: str) -> None:
    """Raises ValueError unless `secret` is `whsec_` and the base64 of 24 to 64 bytes (Standard Webhooks)."""
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, AttributeError, TypeError):
        key = b""
    if not 24 <= len(key) <= 64 or not secret.startswith("whsec_"):
        raise ValueError("a secret is whsec_ and the base64 of 24 to 64 bytes")


def _headers(environ: WSGIEnvironment) -> dict[str, str]:
    """The request's headers, by lower-case name."""
    names = {key: key.removeprefix("HTTP_").lower().replace("_", "-") for key in environ if key.startswith("HTTP_")}
    names |= {key: key.lower().replace("_", "-") for key in ("CONTENT_TYPE", "CONTENT_LENGTH") if environ.get(key)}
    return {names[key]: environ[key] for key in sorted(names)}
