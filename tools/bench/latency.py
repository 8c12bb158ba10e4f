"""Figure e: from the change to the subscriber's handler at 50 events a second, through the whole local cloud.

Every event takes the real way: function, PostgreSQL, wake, relay, Pub/Sub, push, and beside the audit trail the webhook
fan-out and the live feed handle it too, all in one Python process. What is measured is `recorded_at - occurred_at` of
the audit log. Both are read from one clock in one process, so no two clocks are compared; `occurred_at` is read
before the statement that commits the change, so the figure includes that statement and overstates what it names.
"""

import json
import time
import urllib.request
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from pg8000.native import Connection

from tools.bench import market, quiet
from tools.bench.load import LoadGenerator
from tools.bench.report import Bound, Figure
from tools.bench.start import local_cloud
from tools.bench.statistics import Sample, percentile
from tools.local.environment import DATABASE

RATE = 50.0
SECONDS = 20
WARM_UP = 100
"""Events that open connections and make clients, at half the rate; what is measured begins when all are handled."""
CONNECTIONS = 8
ARRIVAL_BOUND = 30.0
"""Seconds after the last request within which every event must have been handled."""
P50 = Bound(100.0, "at_most")
P99 = Bound(500.0, "at_most")

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
        prepared = market.prepare(postgres_port, WARM_UP + int(seconds * RATE))
        requests = market.bids(prepared.trade_ids, [_token(url, n, str(b)) for n, b in enumerate(prepared.bidder_ids)])
        port = urlsplit(url).port or 0
        generator.run(port, requests[:WARM_UP], CONNECTIONS, RATE / 2).require(201)
        _arrivals(postgres_port, prepared.trade_ids[:WARM_UP])
        cpu = quiet.tree_cpu(process.pid)
        with quiet.watch(usage):
            outcome = generator.run(port, requests[WARM_UP:], CONNECTIONS, RATE).require(201)
            latencies = _arrivals(postgres_port, prepared.trade_ids[WARM_UP:])
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


def _arrivals(postgres_port: int, subjects: tuple[object, ...]) -> list[float]:
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


def _token(url: str, number: int, partner_id: str) -> str:
    body = {"sub": f"bidder-{number}", "partner_id": partner_id, "role": "member", "tier": "premium"}
    return _call(f"{url}/_local/token", body)["access_token"]


def _postgres_port(url: str) -> int:
    return urlsplit(_call(f"{url}/_local/endpoints")["DATABASE"]).port or 0


def _call(url: str, body: dict[str, str] | None = None) -> dict[str, str]:
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, content, {"Content-Type": "application/json"})  # noqa: S310 - our own loopback
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return json.load(answer)
