"""Figure e: from the change to the subscriber's handler at 50 events a second, through the whole local cloud.

Every event takes the real way: function, PostgreSQL, wake, relay, Pub/Sub, push, and beside the audit trail the webhook
fan-out and the live feed handle it too, all in one Python process. What is measured is `recorded_at - occurred_at` of
the audit log. Both are read from one clock in one process, so no two clocks are compared; `occurred_at` is read
before the statement that commits the change, so the figure includes that statement and overstates what it names.

The lots are offered over HTTP as well: a lot written by SQL would have no first event, and the consumers that keep
order would refuse each bid for it.
"""

import json
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from pg8000.native import Connection

from local_cloud.environment import DATABASE
from tools.bench import market, quiet
from tools.bench.load import LoadGenerator
from tools.bench.report import Bound, Figure
from tools.bench.start import local_cloud
from tools.bench.statistics import Sample, percentile

RATE = 50.0
SECONDS = 20
WARM_UP = 100
"""Bids that open connections and make clients; what is measured begins when they and all offers are handled."""
CONNECTIONS = 8
ARRIVAL_BOUND = 30.0
"""Seconds after the last request within which every event must have been handled."""
P50 = Bound(100.0, "at_most")
P99 = Bound(500.0, "at_most")

_TRADES = "SELECT id FROM trades WHERE seller_id = :seller_id"
_UNPUBLISHED = "SELECT count(*) FROM outbox WHERE published_at IS NULL"
_LATENCIES = """SELECT extract(epoch FROM recorded_at - occurred_at)::float8 * 1000 FROM audit_log
  WHERE subject = ANY(:subjects) AND type = 'trade.bid_placed.v1' ORDER BY recorded_at, subject"""


def measure(seconds: int = SECONDS) -> list[Figure]:
    """Both percentiles of one run, over the events after the warm-up; each is a row, so no rounds."""
    usage = quiet.Usage()
    with (
        TemporaryDirectory(prefix="kapas-bench-") as folder,
        local_cloud(Path(folder)) as (process, url),
        LoadGenerator() as generator,
    ):
        postgres_port = _postgres_port(url)
        prepared = market.prepare(postgres_port, 0)
        port = urlsplit(url).port or 0
        offers = market.offers(WARM_UP + int(seconds * RATE), _token(url, "seller", prepared.seller_id))
        generator.run(port, offers, CONNECTIONS, RATE).require(201)
        trade_ids = _trades(postgres_port, prepared.seller_id)
        _handled(url, postgres_port)
        tokens = [_token(url, f"bidder-{n}", bidder_id) for n, bidder_id in enumerate(prepared.bidder_ids)]
        bids = market.bids(trade_ids, tokens)
        generator.run(port, bids[:WARM_UP], CONNECTIONS, RATE).require(201)
        _handled(url, postgres_port)
        cpu = quiet.tree_cpu(process.pid)
        with quiet.watch(usage):
            outcome = generator.run(port, bids[WARM_UP:], CONNECTIONS, RATE).require(201)
            latencies = _arrivals(postgres_port, trade_ids[WARM_UP:])
        cores = (quiet.tree_cpu(process.pid) - cpu) / usage.wall
    behind = {
        "events/s": Sample((outcome.rate,)),
        "POST p99, ms": Sample((percentile(outcome.latencies, 99) * 1000,)),
        "cores that the local cloud used": Sample((cores,)),
        "slowest event, ms": Sample((max(latencies),)),
    }
    return [
        Figure(
            name=f"e latency, p{percent}",
            what="change to subscriber's handler at 50 events/s",
            unit="ms",
            measured=Sample((percentile(latencies, percent),)),
            bound=bound,
            absolute=behind if percent == 50 else {},
            notes=(f"{len(latencies)} events, after {WARM_UP} to warm up",),
            others=usage.cores,
        )
        for percent, bound in ((50, P50), (99, P99))
    ]


def _trades(postgres_port: int, seller_id: UUID) -> list[UUID]:
    with Connection("postgres", host="127.0.0.1", port=postgres_port, database=DATABASE) as connection:
        return [row[0] for row in connection.run(_TRADES, seller_id=seller_id)]


def _handled(url: str, postgres_port: int) -> None:
    """Wait until every event is published and acknowledged by every subscription. Raises RuntimeError if never."""
    deadline = time.monotonic() + ARRIVAL_BOUND
    waiting: list[object] = []
    with Connection("postgres", host="127.0.0.1", port=postgres_port, database=DATABASE) as connection:
        while (unpublished := connection.run(_UNPUBLISHED)[0][0]) or (waiting := _call(f"{url}/_local/topics")):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{unpublished} events unpublished, {len(waiting)} deliveries not acknowledged")
            time.sleep(0.2)


def _arrivals(postgres_port: int, subjects: Sequence[UUID]) -> list[float]:
    """Milliseconds of every event, once all have been handled. Raises RuntimeError if some never are."""
    deadline = time.monotonic() + ARRIVAL_BOUND
    with Connection("postgres", host="127.0.0.1", port=postgres_port, database=DATABASE) as connection:
        while True:
            rows = connection.run(_LATENCIES, subjects=list(subjects))
            if len(rows) == len(subjects):
                return [row[0] for row in rows]
            if time.monotonic() > deadline:
                raise RuntimeError(f"{len(subjects) - len(rows)} of {len(subjects)} events were never handled")
            time.sleep(0.2)


def _token(url: str, subject: str, partner_id: UUID) -> str:
    body = {"sub": subject, "partner_id": str(partner_id), "role": "member", "tier": "premium"}
    return _call(f"{url}/_local/token", body)["access_token"]


def _postgres_port(url: str) -> int:
    return urlsplit(_call(f"{url}/_local/endpoints")["DATABASE"]).port or 0


def _call(url: str, body: dict[str, str] | None = None) -> Any:
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, content, {"Content-Type": "application/json"})  # noqa: S310 - our own loopback
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return json.load(answer)
