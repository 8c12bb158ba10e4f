"""Figure h: registering a partner with everything on, against the same validation and inserts and nothing else.

Every partner is registered by its own owner, so every request has a token that was never seen before, and its details are
encrypted under a data key of its own.
"""

import string
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Any

from pg8000.native import Connection
from stdnum import luhn

from kapas.values import ids
from local_cloud.environment import DATABASE, TOKEN_AUDIENCE, TOKEN_ISSUER, Addresses, environment
from local_cloud.oidc import Issuer
from local_cloud.state import State
from tools.bench import kms, processes, race, served
from tools.bench.load import LoadGenerator, request
from tools.bench.report import Figure
from tools.bench.served import Server
from tools.catalog import catalog

FUNCTION = "partner-onboarding"
WARM_UP = 200
REQUESTS = 1000
"""A side and round."""
PEER = "FastAPI + SQLAlchemy async ORM + asyncpg, uvicorn"
PEER_APP = "tools.bench.peers.partners_app:app"

_PEER_TABLES = (
    "CREATE SCHEMA peer",
    """CREATE TABLE peer.partners (id uuid PRIMARY KEY, version bigint NOT NULL, status text NOT NULL, type text NOT NULL,
      constitution text NOT NULL, submission bigint NOT NULL, clarifications jsonb NOT NULL, legal_name text NOT NULL,
      contact jsonb NOT NULL, pan text UNIQUE, gstin text UNIQUE, cin text, address jsonb, ifsc text, account text,
      beneficial_owners jsonb, created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL, UNIQUE (ifsc, account))""",
    "CREATE INDEX ON peer.partners (status, id)",
    "CREATE TABLE peer.outbox (LIKE public.outbox INCLUDING ALL)",
)
"""Every detail in clear, with the indexes of the real table."""


@dataclass(frozen=True, slots=True)
class Servers:
    """Both sides, and whose tokens ours accepts."""

    ours: Server
    peer: Server
    issuer: Issuer
    numbers: Iterator[int]

    def registrations(self, wanted: int) -> list[bytes]:
        """So many registrations, each by an owner of its own with identifiers of its own."""
        return [
            request(
                "POST",
                "/v1/partners",
                {"Authorization": f"Bearer {self._token()}", "Idempotency-Key": str(ids.uuid7())},
                registration(next(self.numbers)),
            )
            for _ in range(wanted)
        ]

    def _token(self) -> str:
        names = {"issuer": TOKEN_ISSUER, "audience": TOKEN_AUDIENCE}
        return self.issuer.user_token("owner", str(ids.uuid7()), "owner", "free", **names)


def measure(rounds: int = 5) -> list[Figure]:
    """Throughput over the peer's, in interleaved rounds on the same PostgreSQL. Reported: nothing is demanded of it."""
    connections = catalog().functions[FUNCTION].concurrency
    with _servers() as at, LoadGenerator() as generator:
        for server in (at.ours, at.peer):
            generator.run(server.port, at.registrations(WARM_UP), connections).require(race.CREATED)
        raced = race.run(
            generator, at.ours, at.peer, at.registrations, connections=connections, count=REQUESTS, rounds=rounds
        )
    return [
        Figure(
            name="h create",
            what="POST of a partner, throughput",
            unit="x",
            measured=raced.throughput,
            bound=None,
            peer=PEER,
            absolute=raced.absolute,
            others=raced.others,
        )
    ]


def registration(number: int) -> dict[str, Any]:
    """A complete registration. The PAN is well-formed and of nobody; the GSTIN has its check character."""
    letters = string.ascii_uppercase
    series = "".join(letters[number // 26**power % 26] for power in range(2))
    pan = f"{series}ACE{number % 10**4:04d}{letters[number % 26]}"
    gstin = f"24{pan}1Z"
    return {
        "type": "ginner",
        "constitution": "private_limited",
        "legal_name": f"Example Ginning {number} Private Limited",
        "contact": {"name": f"Asha Example {number}", "phone": f"+9198{number:08d}"},
        "identifiers": {
            "pan": pan,
            "gstin": gstin + luhn.calc_check_digit(gstin, string.digits + letters),
            "cin": f"U17111GJ2015PTC{number:06d}",
        },
        "address": {"line": f"Plot {number}, Example Road", "city": "Rajkot", "pin": "360001", "state_code": "24"},
        "bank_account": {"ifsc": "EXAM0000001", "number": f"50{number:09d}"},
        "beneficial_owners": [{"name": f"Meena Example {number}", "share_percent": 60}],
    }


@contextmanager
def _servers() -> Generator[Servers]:
    described = catalog()
    with ExitStack() as stack:
        postgres = stack.enter_context(served.database())
        with Connection("postgres", host="127.0.0.1", port=postgres, database=DATABASE) as connection:
            for statement in _PEER_TABLES:
                connection.run(statement)
        issuer = Issuer(State(), lambda: datetime.now(UTC))
        answers = {"/_local/jwks/platform": issuer.jwks("platform"), "/_local/metadata": issuer.token("f", "relay")}
        base_url = stack.enter_context(processes.stand_in(answers))
        kms_url = stack.enter_context(kms.running(described))

        ours = environment(described, FUNCTION, Addresses(base_url, "", postgres)) | {"KMS_URL": kms_url}
        peer = served.peer(stack, PEER_APP, FUNCTION, postgres)
        yield Servers(served.function(stack, FUNCTION, ours), peer, issuer, count(1))
