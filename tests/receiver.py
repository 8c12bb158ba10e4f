"""Where the network would be, for tests of the local cloud: a frozen clock, and a receiver that records requests."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import grpc

from local_cloud.core import Answer, Core, Done, Outgoing, VirtualClock
from local_cloud.driver import Driver
from local_cloud.gapic import serve


class Receiver:
    """A core on a frozen clock whose requests end here.

    Each is answered at the instant of its arrival, with the next of `answers` or else 200; while `holding`, `held`
    keeps the callbacks instead.
    """

    def __init__(self, start: datetime | None = None) -> None:
        self.core = Core(self, clock=VirtualClock(start, frozen=True), seed=1)
        self.driver = Driver(self.core)
        self.requests: list[Outgoing] = []
        self.times: list[datetime] = []
        self.answers: Iterator[Answer] = iter(())
        self.holding = False
        self.held: list[Done] = []

    def __call__(self, request: Outgoing, done: Done) -> None:
        self.requests.append(request)
        self.times.append(self.core.now())
        if self.holding:
            self.held.append(done)
        else:
            answer = next(self.answers, Answer(200))
            self.core.after(0, lambda: done(answer))

    def answer(self, *statuses: int) -> None:
        """Answer the next requests with these statuses."""
        self.answers = map(Answer, statuses)

    def seconds(self) -> list[float]:
        """When each request arrived, in seconds after the first."""
        return [(time - self.times[0]).total_seconds() for time in self.times]

    def names(self) -> list[str]:
        """The last part of each request's resource name."""
        return [request.name.rsplit("/", 1)[-1] for request in self.requests]


@contextmanager
def serving(service: object, client: Callable[..., Any], transport: type) -> Iterator[Any]:
    """An official client of `service`, over gRPC on loopback."""
    server, port = serve({transport: service}, threads=8)
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    try:
        yield client(transport=transport(channel=channel))
    finally:
        channel.close()
        server.stop(None).wait()


def last_parts(resources: Iterable[Any]) -> list[str]:
    """The last part of each resource's name."""
    return [resource.name.rsplit("/", 1)[-1] for resource in resources]
