"""Figure c: the relay from a filled outbox to the acknowledged publish, against the bare publisher client.

Both talk to one local Pub/Sub in a process of its own, on a topic without subscriptions: so the server does the least,
and what is compared is the two clients.
"""

import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from pg8000.native import Connection

from functions.trade_events.event_models import BidPlaced
from kapas.messaging import events
from kapas.values import clock, ids
from local_cloud.environment import DATABASE, PROJECT, SCHEDULE_CALLER, Addresses, environment
from local_cloud.environment import relay as relay_name
from local_cloud.oidc import Issuer
from local_cloud.state import State
from tools.bench import market, processes, quiet, served
from tools.bench.load import drive, request
from tools.bench.report import Bound, Figure
from tools.bench.statistics import Sample, ratios
from tools.catalog import ROOT, catalog

BOUND = Bound(0.5)
PEER = "PublisherClient, same payloads, keys and batching"
AGGREGATES = 500
EACH = 10
TOPIC = BidPlaced.topic

_FILL = """INSERT INTO outbox (event_id, topic, source, type, subject, sequence, data, partner_ids, occurred_at)
  SELECT event_id, :topic, :source, :type, subject, sequence, :data, :partner_ids, :at
  FROM unnest(:event_ids::uuid[], :subjects::uuid[], :sequences::bigint[]) AS row (event_id, subject, sequence)"""


@dataclass(frozen=True, slots=True)
class Run:
    """One emptying of the outbox: events a second, and microseconds of CPU that the publishing process took for one."""

    rate: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Server:
    port: int
    pid: int


@dataclass(frozen=True, slots=True)
class Servers:
    """What runs during the figure, and how the relay is called."""

    relay: Server
    peer: Server
    postgres: int
    wake: bytes


def measure(rounds: int = 5) -> list[Figure]:
    """Events a second over the peer's, in interleaved rounds; the first of each, not counted, opens the connections."""
    ours: list[Run] = []
    peer: list[Run] = []
    usage = quiet.Usage()
    with _servers() as at:
        for n in range(rounds + 1):
            _fill(at.postgres)
            with quiet.watch(usage if n else quiet.Usage()):
                drained = _timed(at.relay, at.wake)
                published = _timed(at.peer, request("POST", "/"))
            _require_empty(at.postgres)
            if n:
                ours.append(drained)
                peer.append(published)
    our_rates, peer_rates = (Sample(tuple(run.rate for run in runs)) for runs in (ours, peer))
    return [
        Figure(
            name="c relay",
            what="outbox to acknowledged publish, throughput",
            unit="x",
            measured=ratios(our_rates, peer_rates),
            bound=BOUND,
            peer=PEER,
            absolute={
                "ours, events/s": our_rates,
                "peer, events/s": peer_rates,
                "ours, CPU us/event": Sample(tuple(run.cpu for run in ours)),
                "peer, CPU us/event": Sample(tuple(run.cpu for run in peer)),
            },
            others=usage.cores,
        )
    ]


def _timed(server: Server, request: bytes) -> Run:
    before = quiet.tree_cpu(server.pid)
    seconds = drive(server.port, [request], 1).require(204).seconds
    events = AGGREGATES * EACH
    return Run(events / seconds, (quiet.tree_cpu(server.pid) - before) * 1e6 / events)


def payload() -> str:
    """The data of one event."""
    return bid_placed().model_dump_json()


def bid_placed() -> BidPlaced:
    """The same, before it is written down."""
    return BidPlaced.model_validate(
        {
            "trade_status": "negotiating",
            "bidder_id": ids.uuid7(),
            "by": "buyer",
            "price": market.ASK,
            "quantity": {"bales": 100, "kg": "16835"},
            "differs": {},
            "valid_until": clock.now() + timedelta(days=1),
        }
    )


def subjects() -> list[tuple[UUID, int]]:
    """The aggregate and sequence of each event."""
    return [(subject, n) for subject in [ids.uuid7() for _ in range(AGGREGATES)] for n in range(1, EACH + 1)]


def encoded(subject: UUID, sequence: int, data: str) -> bytes:
    """An event as the relay sends it."""
    return events.encode(
        id=str(ids.uuid7()),
        type=BidPlaced.type,
        source=BidPlaced.source,
        subject=str(subject),
        sequence=sequence,
        time=clock.rfc3339(clock.now()),
        data=data,
        partner_ids=f"{subject},{subject}",
        traceparent=None,
    )


def _fill(postgres_port: int) -> None:
    rows = subjects()
    with Connection("postgres", host="127.0.0.1", port=postgres_port, database=DATABASE) as connection:
        connection.run(
            _FILL,
            topic=TOPIC,
            source=BidPlaced.source,
            type=BidPlaced.type,
            data=payload(),
            partner_ids=[rows[0][0], rows[0][0]],
            at=datetime.now(UTC),
            event_ids=[ids.uuid7() for _ in rows],
            subjects=[subject for subject, _ in rows],
            sequences=[sequence for _, sequence in rows],
        )
        connection.run("VACUUM ANALYZE outbox")


def _require_empty(postgres_port: int) -> None:
    with Connection("postgres", host="127.0.0.1", port=postgres_port, database=DATABASE) as connection:
        ((left,),) = connection.run("SELECT count(*) FROM outbox WHERE published_at IS NULL")
    if left:
        raise RuntimeError(f"the relay left {left} events in the outbox")


@contextmanager
def _servers() -> Generator[Servers]:
    described = catalog()
    name = relay_name(described)
    function = described.functions[name]
    with ExitStack() as stack:
        postgres = stack.enter_context(served.database())
        issuer = Issuer(State(), lambda: datetime.now(UTC))
        base_url = stack.enter_context(processes.stand_in({"/_local/jwks/google": issuer.jwks("google")}))

        pubsub = processes.free_port()
        command = [sys.executable, "-m", "tools.bench.peers.pubsub", str(pubsub)]
        stack.enter_context(processes.running(command, {}))
        emulator = {"PUBSUB_EMULATOR_HOST": f"127.0.0.1:{pubsub}", "GOOGLE_CLOUD_PROJECT": PROJECT}

        at = Addresses(base_url, emulator["PUBSUB_EMULATOR_HOST"], postgres)
        port, source = processes.free_port(), ROOT / "functions" / function.capability / "main.py"
        environ = processes.function_environment(
            port, function.concurrency, environment(described, name, at) | emulator
        )
        authorization = {"Authorization": f"Bearer {issuer.token(SCHEDULE_CALLER, at.function(name))}"}
        wake = request("POST", "/", authorization)
        relay = stack.enter_context(
            processes.running(processes.function_command(source, function.entry_point), environ, cpu=0)
        )
        processes.first_answer(relay, port, wake, status=204)

        peer_port = processes.free_port()
        command = [sys.executable, "-m", "tools.bench.peers.publisher", str(peer_port)]
        peer = stack.enter_context(processes.running(command, emulator, cpu=0))
        processes.first_answer(peer, peer_port, request("GET", "/"), status=204)
        yield Servers(relay=Server(port, relay.pid), peer=Server(peer_port, peer.pid), postgres=postgres, wake=wake)
