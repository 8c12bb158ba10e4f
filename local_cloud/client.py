"""A client of the local cloud, over HTTP only: what the demo, the tests and a curious person use."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import urllib3

PATIENCE = 300.0
"""Seconds until a request is given up: moving the clock by years takes minutes on a busy machine."""

ANY = 0
"""As `expect`: every status is fine."""


class Refused(Exception):
    """The answer has another status than expected; the message has the problem's title, detail and pointers."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def etag(self) -> str:
        return self.headers["ETag"]


class Client:
    """Calls the API as one user (`as_user`), or the local cloud's own endpoints as nobody."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url
        self.token = token
        self._pool = urllib3.PoolManager(maxsize=4, retries=False, timeout=PATIENCE)

    def as_user(self, sub: str, partner_id: UUID | str | None, role: str, tier: str = "basic") -> "Client":
        """A client with an access token of that user."""
        claims = {"sub": sub, "partner_id": None if partner_id is None else str(partner_id), "role": role, "tier": tier}
        return Client(self.url, self.post("/_local/token", claims).body["access_token"])

    def get(self, path: str, expect: int | None = 200) -> Answer:
        return self.call("GET", path, expect=expect)

    def post(
        self,
        path: str,
        body: Any = None,
        *,
        expect: int | None = None,
        key: str | None = None,
        if_match: str | None = None,
    ) -> Answer:
        """POST with a fresh Idempotency-Key, or with `key`. Any 2xx is expected unless `expect` names another status."""
        headers = {"Idempotency-Key": key or str(uuid4())}
        if if_match is not None:
            headers["If-Match"] = if_match
        return self.call("POST", path, body, headers=headers, expect=expect)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        expect: int | None = None,
    ) -> Answer:
        """One request. Raises `Refused` unless the status is `expect`: None for any 2xx, `ANY` for whatever comes."""
        sent = dict(headers or {})
        if self.token is not None:
            sent.setdefault("Authorization", f"Bearer {self.token}")
        data = None
        if body is not None:
            data, sent["Content-Type"] = json.dumps(body).encode(), "application/json"
        answer = self.raw(method, path, data, sent)
        if expect != ANY and not (200 <= answer.status < 300 if expect is None else answer.status == expect):
            raise Refused(f"{method} {path} answered {answer.status}: {_reason(answer)}")
        return answer

    def raw(self, method: str, path: str, data: bytes | None, headers: Mapping[str, str]) -> Answer:
        """One request with exactly this body and these headers, whatever comes of it."""
        response = self._pool.request(method, self.url + path, body=data, headers=headers)
        is_json = "json" in response.headers.get("Content-Type", "")
        return Answer(response.status, response.headers, response.json() if is_json else response.data)

    def settle(self) -> None:
        """Wait until everything due has been delivered: wakes of the relay, pushes, tasks and what follows from them.

        Raises `Refused` if that does not happen within `driver.SETTLE_SECONDS`.
        """
        self.post("/_local/settle")


def _reason(answer: Answer) -> str:
    if not isinstance(answer.body, dict):
        return str(answer.body)[:200]
    errors = "; ".join(f"{e['pointer']} {e['message']}" for e in answer.body.get("errors", []))
    return " - ".join(part for part in (answer.body.get("title"), answer.body.get("detail"), errors) if part)


@contextmanager
def running(log: Path, *arguments: str, wait: float = 120.0) -> Generator[tuple[Client, "subprocess.Popen[bytes]"]]:
    """The local cloud in a process of its own, its logs in the file `log`; stopped at the end.

    Raises RuntimeError with the end of the log if it is not ready within `wait` seconds.
    """
    command = [sys.executable, "-m", "local_cloud", "--parent", str(os.getpid()), *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield Client(_ready(process, log, wait)), process
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(60)


def _ready(process: "subprocess.Popen[bytes]", log: Path, wait: float) -> str:
    deadline = time.monotonic() + wait
    while time.monotonic() < deadline:
        for line in log.read_text(errors="replace").splitlines():
            if line.startswith("ready "):
                return line.removeprefix("ready ")
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError(f"the local cloud did not start:\n{log.read_text(errors='replace')[-2000:]}")
