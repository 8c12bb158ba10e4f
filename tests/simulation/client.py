"""A client of the API as real ones are: it waits for an answer, and repeats what it cannot be sure of with the same key."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from local_cloud.core import Answer, Outgoing
from tests.simulation.fleet import BASE_URL, access_token

if TYPE_CHECKING:
    from tests.simulation.world import World

TIMEOUT = 30.0
MAX_TRIES = 40
LOOKS = 40
"""How often a client looks at what it waits for."""
LONG_WAIT = 3600
"""Seconds of a Retry-After that no client waits for."""


@dataclass(frozen=True, slots=True)
class Response:
    """The answer to a call of a client: `body` is its JSON."""

    step: str
    method: str
    path: str
    status: int
    body: Any
    etag: str
    sent: Any = None
    """The body of the request."""

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


class Client:
    """One user. Its calls are named by `step`, which is unique in a run: idempotency keys and logs are made of it."""

    def __init__(self, world: "World", name: str, partner_id: UUID | None, role: str, tier: str = "basic") -> None:
        self.world = world
        self.name = name
        self.partner_id = partner_id
        self._token = access_token(name, partner_id, role, tier)

    def get(self, step: str, path: str) -> Response:
        return self.call(step, "GET", path)

    def post(self, step: str, path: str, body: Any = None, *, if_match: str | None = None) -> Response:
        """POST, with the key of this step. Some clients ask again though they were answered: they must be told the same."""
        response = self.call(step, "POST", path, body, if_match=if_match)
        if response.ok and self.world.kernel.faults.draw(self.name, step, "again") < 0.15:
            again = self.call(step, "POST", path, body, if_match=if_match)
            if (again.status, again.body, again.etag) != (response.status, response.body, response.etag):
                self.world.kernel.violation(f"{step}: a repeated request was answered otherwise")
        return response

    def watch(self, step: str, path: str, is_done: Callable[[Any], bool], *, first: float, longest: float) -> Response:
        """Look at a resource until it is done, or is refused: after `first` seconds, and then twice as long each time."""
        for look in range(LOOKS):
            seen = self.get(f"{step} {look}", path)
            if not seen.ok or is_done(seen.body):
                return seen
            self.world.kernel.sleep(min(first * 2**look, longest))
        self.world.kernel.violation(f"{self.name}: {step}: it was never over")
        return seen

    def call(self, step: str, method: str, path: str, body: Any = None, *, if_match: str | None = None) -> Response:
        """One request, made again until there is an answer that says what became of it."""
        kernel = self.world.kernel
        name = f"{self.name}: {step}"
        headers = {"Authorization": f"Bearer {self._token}"}
        if method == "POST":
            headers["Idempotency-Key"] = f"the key of {name}".ljust(16, "-")
        if if_match is not None:
            headers["If-Match"] = if_match
        data = b""
        if body is not None:
            data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        request = Outgoing("api", name, method, BASE_URL + path, headers, data, TIMEOUT)
        for attempt in range(MAX_TRIES):
            answer = self._send(request)
            if not _undecided(answer):
                parsed = json.loads(answer.body) if answer.body else None
                response = Response(name, method, path, answer.status, parsed, answer.headers.get("ETag", ""), body)
                kernel.log(name, f"is told {answer.status}", parsed)
                self.world.responses.append(response)
                return response
            kernel.sleep(min(1 + attempt + kernel.faults.draw(name, attempt, "pause"), 15))
        kernel.violation(f"{name} never got an answer")
        return Response(name, method, path, 0, None, "")

    def _send(self, request: Outgoing) -> Answer:
        kernel = self.world.kernel
        task = kernel.alive()
        answers: list[Answer] = []

        def done(answer: Answer) -> None:
            answers.append(answer)
            kernel.wake(task)

        self.world.send(request, done)
        while not answers:
            kernel.wait()
        return answers[0]


def _undecided(answer: Answer) -> bool:
    """Whether a client cannot tell from an answer what became of its request, or is asked to come again."""
    if answer.status == 409:
        return b"still-running" in answer.body
    if answer.status == 429:
        return int(answer.headers.get("Retry-After", 0)) < LONG_WAIT
    return answer.status == 0 or answer.status >= 500


Script = Callable[["World"], None]
