"""Who is asked about partners, for the local cloud: a GST registry, a bank that drops pennies, a screening list.

    PUT  /_local/providers/<name>  {"behaviours": [{"kind": "mismatch", "about": "24AAACE1234K1Z5", "times": 2}]}
    GET  /_local/providers/<name>  how often each request came, by its Idempotency-Key; never what was asked
    POST /_local/providers/gst-registry/lookups             {"gstin", "name"}
    POST /_local/providers/bank-verification/penny-drops    {"ifsc", "number", "name"}
    POST /_local/providers/screening/searches               {"names"}

Left alone, each answers as for an honest partner: the registry and the bank know the name they are asked about, and nobody
is listed. A behaviour changes that for the requests that hold the text `about`, `times` times. Which are set, and what was
penny drops were answered, outlives a restart: a repeated drop gets the first answer, and is not paid twice.
"""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from http.client import responses
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from kapas.values.clock import Clock, rfc3339
from local_cloud.state import State

PREFIX = "/_local/providers"
KINDS = ("match", "mismatch", "near", "inactive", "unknown", "down", "slow", "stale", "missing")
OTHER_NAME = "Another Example Trading Company"
LIST_AGE = timedelta(hours=6)

_BEHAVIOURS, _ANSWERS = "provider-behaviours", "provider-answers"
_PAID = "bank-verification"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How to answer. Raises ValueError for an unknown kind.

    `mismatch`: another holder, or somebody listed. `near`: the name `name`, or somebody who is a little like it.
    `inactive`, `unknown`: the registration or account is so. `down`: 503. `slow`: after `delay` seconds of real time.
    `stale`, `missing`: of the screening's list.
    """

    kind: str
    about: str = ""
    """A text that the request must hold; empty for any."""
    times: int | None = None
    """For so many requests; None for all."""
    name: str = OTHER_NAME
    delay: float = 30.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}")


class Providers:
    """The providers as one WSGI application."""

    def __init__(self, clock: Clock, state: State) -> None:
        self._clock = clock
        self._state = state
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._asked: dict[str, Counter[str]] = {name: Counter() for name in _SERVICES}
        self._behaviours: dict[str, list[Behaviour]] = {name: [] for name in _SERVICES}
        for name, value in state.items(_BEHAVIOURS):
            self._behaviours[name] = [Behaviour(**one) for one in json.loads(value)]
        self._answers = {key: json.loads(value) for key, value in state.items(_ANSWERS)}

    def release(self) -> None:
        """Answer at once whatever is being delayed: the providers are being stopped."""
        self._released.set()

    def behave(self, name: str, *behaviours: Behaviour) -> None:
        """Behave so from now on; with none, honestly. Raises KeyError for an unknown provider."""
        with self._lock:
            self._behaviours[name][:] = behaviours
            self._save(name)

    def requests_by_key(self, name: str) -> dict[str, int]:
        """Idempotency-Key -> how often a request came with it."""
        with self._lock:
            return dict(self._asked[name])

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        name, _, operation = environ.get("PATH_INFO", "").removeprefix(PREFIX).strip("/").partition("/")
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        key = environ.get("HTTP_IDEMPOTENCY_KEY", "")
        try:
            status, answer = self._respond(environ["REQUEST_METHOD"], name, operation, key, body)
        except (ValueError, TypeError, KeyError) as error:
            status, answer = 422, {"detail": str(error)}
        payload = json.dumps(answer).encode()
        sent = [("Content-Type", "application/json"), ("Content-Length", str(len(payload)))]
        start_response(f"{status} {responses[status]}", sent)
        return [payload]

    def _respond(self, method: str, name: str, operation: str, key: str, body: bytes) -> tuple[int, Any]:
        if name not in _SERVICES:
            return 404, {"detail": f"the providers are {', '.join(_SERVICES)}"}
        if method == "PUT" and not operation:
            self.behave(name, *(Behaviour(**one) for one in json.loads(body or b"{}").get("behaviours", [])))
            return 200, {}
        if method == "GET" and not operation:
            return 200, {"asked": self.requests_by_key(name)}
        expected, answer = _SERVICES[name]
        if method != "POST" or operation != expected:
            return 405, {"detail": f"POST to {PREFIX}/{name}/{expected}"}
        return self._ask(name, key, json.loads(body), answer)

    def _ask(self, name: str, key: str, question: dict[str, Any], answer: "_Answer") -> tuple[int, Any]:
        with self._lock:
            self._asked[name][key] += 1
            behaviour = self._next(name, json.dumps(question, ensure_ascii=False))
            reply = self._answers.get(key) if name == _PAID else None
            if reply is None and behaviour.kind != "down":
                reply = {"reference": f"{name}-{self._asked[name].total():06d}"} | answer(self, behaviour, question)
                if name == _PAID:
                    self._answers[key] = reply
                    self._state.put(_ANSWERS, key, json.dumps(reply).encode())
        if behaviour.kind == "slow":
            self._released.wait(behaviour.delay)
        if behaviour.kind == "down":
            return 503, {"detail": "down for maintenance"}
        return 200, reply

    def _next(self, name: str, question: str) -> Behaviour:
        """The first behaviour that fits, one use of it taken."""
        listed = self._behaviours[name]
        for n, behaviour in enumerate(listed):
            if behaviour.about in question:
                if behaviour.times is not None:
                    listed[n : n + 1] = [replace(behaviour, times=behaviour.times - 1)] if behaviour.times > 1 else []
                    self._save(name)
                return behaviour
        return Behaviour("match")

    def _save(self, name: str) -> None:
        behaviours = [asdict(behaviour) for behaviour in self._behaviours[name]]
        self._state.put(_BEHAVIOURS, name, json.dumps(behaviours).encode())

    def look_up(self, behaviour: Behaviour, question: dict[str, Any]) -> dict[str, Any]:
        """The registry's record of a GSTIN."""
        return {
            "found": behaviour.kind != "unknown",
            "status": "Cancelled" if behaviour.kind == "inactive" else "Active",
            "legal_name": _holder(behaviour, question["name"]),
        }

    def drop_penny(self, behaviour: Behaviour, question: dict[str, Any]) -> dict[str, Any]:
        """How the bank took a rupee, and whose account it is."""
        status = {"inactive": "closed", "unknown": "unknown"}.get(behaviour.kind, "credited")
        return {"status": status, "registered_name": _holder(behaviour, question["name"])}

    def search(self, behaviour: Behaviour, question: dict[str, Any]) -> dict[str, Any]:
        """Who is listed."""
        published_at = self._clock() - (timedelta(days=30) if behaviour.kind == "stale" else LIST_AGE)
        score = {"mismatch": 0.97, "near": 0.72}.get(behaviour.kind)
        hits = [] if score is None else [{"name": question["names"][0], "score": score, "features": {"name": score}}]
        listed = {"version": published_at.strftime("%Y%m%d"), "published_at": rfc3339(published_at)}
        return {"list": None if behaviour.kind == "missing" else listed, "hits": hits}


def _holder(behaviour: Behaviour, name: str) -> str:
    """Whom a register names: as asked, in capitals as registers write, or another."""
    return behaviour.name if behaviour.kind in ("mismatch", "near") else name.upper()


_Answer = Callable[[Providers, Behaviour, dict[str, Any]], dict[str, Any]]

_SERVICES: dict[str, tuple[str, _Answer]] = {
    "gst-registry": ("lookups", Providers.look_up),
    "bank-verification": ("penny-drops", Providers.drop_penny),
    "screening": ("searches", Providers.search),
}
