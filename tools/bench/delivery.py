"""Webhook delivery under measure: endpoints at a local sink, messages in PostgreSQL, and the function that attempts them."""

import json
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast
from urllib.parse import urlsplit
from uuid import UUID

from pg8000.native import Connection

from functions.trade_events.event_models import BidPlaced
from functions.webhook_delivery import service
from functions.webhook_delivery.schemas import WebhookEndpointCreate, WebhookEndpointCreated
from kapas.http.identity import Identity, Role, Tier
from kapas.messaging import outbox
from kapas.messaging.events import SCHEMA_PREFIX, CloudEvent
from kapas.platform.db import Database
from kapas.platform.db.connect import open_database
from kapas.platform.gcp.kms import CloudKms
from kapas.platform.ports import Task
from kapas.platform.settings import DatabaseSettings
from kapas.privacy.key_store import SqlKeyStore
from kapas.privacy.keys import Keyring
from kapas.values import ids
from local_cloud.environment import DATABASE, PROJECT, TASK_CALLER, Addresses, environment
from local_cloud.oidc import Issuer
from local_cloud.state import State
from tools.bench import kms, processes, relay, served, sink
from tools.bench.load import request
from tools.catalog import Catalog, catalog

FUNCTION = "webhook-attempt"
FAN_OUT = "webhook-fan-out"
NOWHERE = "127.0.0.1:9"
"""For Cloud Tasks where nothing is enqueued: a client is made all the same."""

_UNDELIVERED = "SELECT count(*) FROM webhook_messages WHERE status <> 'delivered'"
_UNRECORDED = """SELECT count(*) FROM webhook_messages m
  WHERE (SELECT count(*) FROM webhook_attempts a WHERE a.message_id = m.id) <> 1"""


@dataclass(frozen=True, slots=True)
class Ground:
    """What the functions of webhook delivery need around them."""

    described: Catalog
    postgres: int
    sink: sink.Sink
    kms_url: str
    issuer: Issuer
    base_url: str

    def variables(self, name: str, grpc: str = NOWHERE) -> dict[str, str]:
        """The environment of a function. Its endpoints may be at the sink, as the local cloud's are at its receiver."""
        at = Addresses(self.base_url, grpc, self.postgres)
        allowed = {"WEBHOOK_ALLOW_HOSTS": self.sink.url.removeprefix("http://"), "KMS_URL": self.kms_url}
        return environment(self.described, name, at) | allowed

    def token(self, caller: str, name: str) -> str:
        """What Google's services authenticate a call of a function with."""
        return self.issuer.token(caller, Addresses(self.base_url, "", self.postgres).function(name))


@contextmanager
def ground() -> Generator[Ground]:
    """A durable PostgreSQL, a KMS, an issuer of tokens, and the sink."""
    described = catalog()
    with ExitStack() as stack:
        postgres = stack.enter_context(served.database())
        issuer = Issuer(State(), lambda: datetime.now(UTC))
        base_url = stack.enter_context(processes.stand_in({"/_local/jwks/google": issuer.jwks("google")}))
        kms_url = stack.enter_context(kms.running(described))
        yield Ground(described, postgres, stack.enter_context(sink.running()), kms_url, issuer, base_url)


def endpoints(at: Ground, paths: list[str], *, partners: int) -> list[WebhookEndpointCreated]:
    """An endpoint at each path of the sink, of so many partners in turn, made by the use case that makes them."""
    keyring = Keyring(CloudKms(at.variables(FUNCTION)["KMS_KEY"], at.kms_url))
    partner_ids = [ids.uuid7() for _ in range(partners)]
    onboarding, database = (_database(at, name) for name in ("partner-onboarding", "webhook-endpoints"))
    for partner_id in partner_ids:
        with onboarding.session(partner_id) as db, db.transaction():
            keyring.create_subject(SqlKeyStore(db), partner_id)
    made: list[WebhookEndpointCreated] = []
    allowed = frozenset({urlsplit(at.sink.url).netloc})
    for n, path in enumerate(paths):
        owner = Identity("owner", partner_ids[n % partners], Role.OWNER, Tier.PREMIUM)
        body = WebhookEndpointCreate(url=at.sink.url + path, event_types=["*"])
        with database.session(owner.partner_id) as db:
            outcome = service.create(db, keyring, owner, body, allowed)
            outbox.commit(db, outcome.change)
        made.append(cast(WebhookEndpointCreated, outcome.resource))
    onboarding.close()
    database.close()
    return made


def fan_out(at: Ground, to: Sequence[WebhookEndpointCreated], count: int) -> list[bytes]:
    """Write so many messages to these endpoints in turn, each of a partner of its own, as their events do; the tasks that
    the fan-out makes for them, as Cloud Tasks dispatches them."""
    with connection(at) as db:
        partners = dict(db.run("SELECT id, partner_id FROM webhook_endpoints"))
    tasks = _Collected([])
    database = _database(at, FAN_OUT)
    for n in range(count):
        service.fan_out(database, tasks, _event(partners[to[n % len(to)].id]))
    database.close()
    with connection(at) as db:
        db.run("VACUUM ANALYZE webhook_messages")
    headers = {"Authorization": f"Bearer {at.token(TASK_CALLER, FUNCTION)}"}
    return [request("POST", "/", headers, json.loads(task.body)) for task in tasks.made]


def payload() -> str:
    """The body that a bid gives rise to."""
    return service.payload(_event(ids.uuid7()))


def require_delivered(at: Ground) -> None:
    """Raises RuntimeError unless every message was delivered, with one attempt in its log."""
    with connection(at) as db:
        ((undelivered,),), ((unrecorded,),) = db.run(_UNDELIVERED), db.run(_UNRECORDED)
    if undelivered or unrecorded:
        raise RuntimeError(f"{undelivered} messages were not delivered, {unrecorded} have not one attempt recorded")


def connection(at: Ground) -> Connection:
    """To the database, as its owner."""
    return Connection("postgres", host="127.0.0.1", port=at.postgres, database=DATABASE)


@dataclass(frozen=True, slots=True)
class _Collected:
    """A `kapas.platform.ports.Tasks`."""

    made: list[Task]

    def enqueue(self, task: Task) -> bool:
        self.made.append(task)
        return True


def _event(partner_id: UUID) -> CloudEvent:
    """A bid that the partner may see, the first event of a lot of its own."""
    subject, type_ = ids.uuid7(), BidPlaced.type
    return CloudEvent(
        specversion="1.0",
        id=ids.uuid7(),
        type=type_,
        source=BidPlaced.source,
        subject=subject,
        time=datetime.now(UTC),
        dataschema=f"{SCHEMA_PREFIX}{type_}.json",
        partitionkey=subject,
        sequence=1,
        partnerids=str(partner_id),
        data=relay.bid_placed().model_dump(mode="json"),
    )


def _database(at: Ground, name: str) -> Database:
    url = at.variables(name)["DATABASE_URL"]
    return open_database(DatabaseSettings(function="bench", project=PROJECT, database_url=url, database_pool=1))
