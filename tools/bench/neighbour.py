"""Figure g: what nine endpoints notice of a tenth that takes every connection and never answers.

A partner has ten endpoints, and every event is for all of them. Events go the real way from the push on: the fan-out
writes messages and enqueues tasks, the local Cloud Tasks dispatches them within the queue's limits, and one instance of
the function makes the attempts. What is measured is from the message's `created_at` to its arrival at the sink, two
clocks of one machine. The run is long enough for the tenth's share of the slots to be taken throughout: its first
attempts time out after 15 seconds.
"""

import base64
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from uuid import UUID

from functions.trade_events.event_models import BidPlaced
from functions.webhook_delivery import transport
from functions.webhook_delivery.schemas import WebhookEndpointCreated
from kapas.messaging import events
from kapas.values import clock, ids
from local_cloud.environment import PUSH_CALLER
from tools.bench import cloud_tasks, delivery, processes, quiet, relay, served, sink
from tools.bench.delivery import Ground
from tools.bench.load import LoadGenerator, request
from tools.bench.report import Bound, Figure
from tools.bench.served import Server
from tools.bench.statistics import Sample, percentile, ratios

BOUND = Bound(2.0, "at_most")
PEER = "the same run without it"
ENDPOINTS = 10
RATE = 5.0
"""Events a second, each a message to every endpoint."""
SECONDS = 20
WARM_UP = 10
"""Events whose messages are not counted: they open connections and make clients."""
CONNECTIONS = 1
"""Of the pushes. gunicorn closes what is idle for two seconds, as a second one would be."""
ARRIVAL_BOUND = 10.0
"""Seconds after the last event within which every healthy endpoint must have everything."""

_CREATED = """SELECT id, extract(epoch FROM created_at)::float8 FROM webhook_messages
  WHERE endpoint_id = ANY(:endpoint_ids) ORDER BY created_at DESC, id DESC LIMIT :wanted"""
_STOP = "UPDATE webhook_endpoints SET status = 'disabled', disabled_reason = 'requested', disabled_at = now()"


def measure(rounds: int = 3) -> list[Figure]:
    """The 99th percentile with the neighbour over that without, in runs of their own next to each other."""
    usage = quiet.Usage()
    quietly: list[list[float]] = []
    beside: list[list[float]] = []
    with _system() as at, LoadGenerator() as generator:
        for n in range(rounds):
            for hung in (False, True) if n % 2 == 0 else (True, False):
                with quiet.watch(usage):
                    (beside if hung else quietly).append(at.run(generator, hung))
                at.settle(hung)
    without, with_it = (Sample(tuple(percentile(run, 99) for run in runs)) for runs in (quietly, beside))
    return [
        Figure(
            name="g neighbour",
            what="p99 of nine endpoints beside one that hangs",
            unit="x",
            measured=ratios(with_it, without),
            bound=BOUND,
            peer=PEER,
            absolute={
                "without, p99 ms": without,
                "beside it, p99 ms": with_it,
                "without, p50 ms": Sample(tuple(percentile(run, 50) for run in quietly)),
                "beside it, p50 ms": Sample(tuple(percentile(run, 50) for run in beside)),
                "beside it, slowest ms": Sample(tuple(max(run) for run in beside)),
            },
            notes=(f"{len(beside[0])} messages a run, {RATE * ENDPOINTS:.0f} a second to all {ENDPOINTS} endpoints",),
            others=usage.cores,
        )
    ]


@dataclass(frozen=True, slots=True)
class _System:
    ground: Ground
    fan_out: Server

    def run(self, generator: LoadGenerator, hung: bool) -> list[float]:
        """Milliseconds of every message to the healthy endpoints, by a partner of this run's own."""
        paths = [sink.HANG if hung else "/tenth", *(f"/{n}" for n in range(1, ENDPOINTS))]
        to = delivery.endpoints(self.ground, paths, partners=1)
        healthy = [endpoint.id for endpoint in to[1:]]
        for wanted in (WARM_UP, round(SECONDS * RATE)):
            generator.run(self.fan_out.port, self._pushes(to, wanted), CONNECTIONS, RATE).require(204)
            latencies = self._latencies(healthy, wanted * len(healthy))
        return latencies

    def settle(self, hung: bool) -> None:
        """Discard what waits for the endpoints of a run, once its hanging attempts are over."""
        with delivery.connection(self.ground) as db:
            db.run(_STOP)
        if hung:
            time.sleep(transport.TOTAL_SECONDS)

    def _pushes(self, to: list[WebhookEndpointCreated], wanted: int) -> list[bytes]:
        with delivery.connection(self.ground) as db:
            ((partner_id,),) = db.run("SELECT partner_id FROM webhook_endpoints WHERE id = :id", id=to[0].id)
        headers = {"Authorization": f"Bearer {self.ground.token(PUSH_CALLER, delivery.FAN_OUT)}"}
        return [request("POST", "/", headers, _push(partner_id)) for _ in range(wanted)]

    def _latencies(self, endpoint_ids: list[UUID], wanted: int) -> list[float]:
        """Of the last so many messages to these endpoints, once they have arrived."""
        deadline = time.monotonic() + ARRIVAL_BOUND
        arrived: dict[str, float] = {}
        while True:
            arrived = self.ground.sink.arrivals() | arrived
            with delivery.connection(self.ground) as db:
                rows = db.run(_CREATED, endpoint_ids=endpoint_ids, wanted=wanted)
            missing = sum(str(message_id) not in arrived for message_id, _ in rows)
            if not missing:
                return [(arrived[str(message_id)] - created) * 1000 for message_id, created in rows]
            if time.monotonic() > deadline:
                raise RuntimeError(f"{missing} of {len(rows)} messages did not reach a healthy endpoint")
            time.sleep(0.2)


def _push(partner_id: UUID) -> dict[str, object]:
    """A bid that the partner may see, as Pub/Sub pushes it: the first event of a lot of its own."""
    event = events.encode(
        id=str(ids.uuid7()),
        type=BidPlaced.type,
        source=BidPlaced.source,
        subject=str(ids.uuid7()),
        sequence=1,
        time=clock.rfc3339(clock.now()),
        data=relay.payload(),
        partner_ids=str(partner_id),
        traceparent=None,
    )
    return {"message": {"data": base64.b64encode(event).decode()}, "subscription": "bench"}


@contextmanager
def _system() -> Generator[_System]:
    with delivery.ground() as at, ExitStack() as stack:
        grpc = stack.enter_context(cloud_tasks.running(at.described, at.issuer))
        port = processes.free_port()
        # Cloud Tasks calls the function itself here, so its address is also the audience of the tokens.
        url = f"http://127.0.0.1:{port}/"
        own = {"TASK_URLS": f"{delivery.FUNCTION}={url}"}
        attempts = at.variables(delivery.FUNCTION, grpc) | own | {"SERVICE_AUDIENCE": url}
        served.function(stack, delivery.FUNCTION, attempts, port)
        fan_out = served.function(stack, delivery.FAN_OUT, at.variables(delivery.FAN_OUT, grpc) | own, cpu=1)
        yield _System(at, fan_out)
