"""Every function of the catalog, loaded as functions-framework loads it, and the instances it runs in.

The functions are loaded once a process. What an instance makes on first use (its pool, its keys, its clients) is replaced
by what the current run gives the instance that is running.
"""

import base64
import io
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import kapas.http.function
import kapas.privacy.keys
from kapas import errors
from kapas.http import calls
from kapas.http.identity import Identity, InvalidToken, Role, Tier
from kapas.platform import log, settings
from kapas.platform.db import Database
from kapas.privacy.keys import Keyring
from local_cloud.core import Answer, Outgoing
from local_cloud.environment import Addresses, environment, relay, service_account
from local_cloud.functions import load
from tests.simulation import files, ports
from tests.simulation.kernel import Kernel, Promise, Slots
from tests.simulation.sql import SimulatedDatabase
from tools.catalog import ROOT, Catalog, Function

BASE_URL = "http://kapas.example.com"
MAX_INSTANCES = 2
"""Instances of a function in a run: two are enough for everything that more could do to each other."""
SKEW = 3.0
"""Seconds by which an instance's clock may be wrong."""

EXPLAINED = (
    {"Refused", "PublishFailed", "LockTimeout", "UniqueViolation"}
    | {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, errors.Problem)}
    | {"ConnectionLost", "SequenceGap"}
)
"""The exceptions that faults give rise to, by name: the class of a function's own module is loaded once for each."""
REFUSED_LOGIN = ("database_connect_failed", "InterfaceError")
"""What is logged of a new connection while PostgreSQL restarts."""


@dataclass(eq=False)
class Instance:
    """One instance: what is lost when it dies."""

    function: str
    skew: float
    database: Database | None
    keyring: Keyring
    dead: bool = False


@dataclass
class Ports:
    """What all instances of a run share."""

    bus: ports.Bus
    tasks: ports.Tasks
    documents: ports.Documents
    keys: ports.Keys
    sender: ports.Sender
    providers: ports.Providers
    signer: ports.Signer
    archives: files.Files
    uploads: files.Files
    eyes: files.Eyes


class Functions:
    """The functions of these capabilities, in one process. `fleet` is the run that they are in."""

    def __init__(self, catalog: Catalog, capabilities: Collection[str]) -> None:
        taken = {name: f for name, f in catalog.functions.items() if f.capability in capabilities}
        self.catalog = catalog = catalog.model_copy(update={"functions": taken})
        self.addresses = Addresses(BASE_URL, "tasks.example.com:443", 5432)
        self.environments = {name: environment(catalog, name, self.addresses) for name in catalog.functions}
        self.loaded = {name: load(ROOT / "functions", function) for name, function in catalog.functions.items()}
        self.routes = {route: name for name, f in catalog.functions.items() for route in f.trigger.routes}
        self.fleet: Fleet | None = None
        self._connect()
        self._make_small()
        calls._verifier = _ServiceVerifier
        kapas.privacy.keys.Future = Promise
        log._write = self._log

    def module(self, name: str) -> Any:
        """The `main` module of a function."""
        return self.loaded[name][0]

    def _connect(self) -> None:
        """Have every function take from the running instance what it would make itself."""
        instance, shared = self._instance, self._ports
        given: dict[str, Callable[[], Any]] = {
            "database": lambda: instance().database,
            "keyring": lambda: instance().keyring,
            "bus": lambda: shared().bus,
            "tasks": lambda: shared().tasks,
            "documents": lambda: shared().documents,
            "archives": lambda: shared().archives,
            "uploads": lambda: shared().uploads,
            "signer": lambda: shared().signer,
            "sender": lambda: shared().sender,
            "providers": lambda: shared().providers,
            "reader": lambda: shared().eyes.read,
            "wake": lambda: self._wake,
        }
        keep = kapas.http.function.Function.keep

        def take(function: Any, name: str, make: Callable[[], Any]) -> Any:
            return given[name]() if name in given else keep(function, name, make)

        kapas.http.function.Function.keep = take
        for module, _ in self.loaded.values():
            if hasattr(module, "routes"):
                module.routes.app.verifier = lambda: _ClientVerifier

    def _make_small(self) -> None:
        """Have few rows make many shards and pages, checks be overdue while they are made, the deadlines of trades be reached
        in hops of few days, and an erasure begin at once, in the middle of what its partner does: no upload is late here,
        which is what it waits for."""
        self.module("partner-watchdog").checks.verification.OVERDUE = timedelta(seconds=2)
        for name in ("privacy-intake", "export-watchdog", "erasure-work"):
            self.module(name).erasing.UPLOADS_END = timedelta(0)
        for name in ("export-work", "erasure-work", "export-watchdog"):
            shards = self.module(name).preparing.shards
            shards.SHARD_ROWS, shards.FETCH = 5, 2
        for name in ("trade-scheduler", "trade-deadline"):
            self.module(name).deadlines.FURTHEST = timedelta(days=5)
        sweeping = self.module("retention-batch").sweeping
        sweeping.PAGE, sweeping.OUTSIDE_PAGE = 4, 3

    def _instance(self) -> Instance:
        assert self.fleet is not None
        return self.fleet.kernel.alive().instance

    def _ports(self) -> Ports:
        assert self.fleet is not None
        return self.fleet.ports

    def _wake(self) -> None:
        assert self.fleet is not None
        self.fleet.wake_relay()

    def _log(self, severity: str, event: str, fields: dict[str, Any]) -> None:
        """What a function logs. An error that no fault explains breaks a rule."""
        assert self.fleet is not None
        kernel = self.fleet.kernel
        exception = str(fields.get("exception", ""))
        if severity != "INFO":
            kernel.log(kernel.alive().key, f"logs {event} {exception} {fields.get('detail', '')}")
        explained = exception in EXPLAINED or (event, exception) == REFUSED_LOGIN
        if severity == "ERROR" and exception and not explained:
            kernel.violation(f"{event}: {exception} at {fields['raised_at']}")


@dataclass(eq=False)
class Fleet:
    """The instances of one run, and the network between them and everybody who calls them."""

    kernel: Kernel
    functions: Functions
    database: SimulatedDatabase
    label: Callable[[str, Outgoing], str]
    """Names an invocation by what it is about."""
    ports: Ports = field(init=False)
    instances: dict[tuple[str, int], Instance] = field(default_factory=dict[tuple[str, int], Instance])

    def __post_init__(self) -> None:
        self.functions.fleet = self
        Promise.kernel = self.kernel

    # The network

    def send(self, request: Outgoing, done: Callable[[Answer], None]) -> None:
        """Deliver a request, as the faults of its edge say, and answer it once: in time or not at all."""
        kernel, faults = self.kernel, self.kernel.faults
        label = self.label(self._function(request), request)
        tries = kernel.counts[f"send {label}"] = kernel.counts.get(f"send {label}", 0) + 1
        edge = f"{label}>{tries}"
        timer = kernel.core.after(request.timeout, lambda: answer(Answer(0)))
        answered = False

        def answer(reply: Answer) -> None:
            nonlocal answered
            if not answered:
                answered = True
                timer.cancel()
                done(reply)

        def strikes(kind: str, weight: float = 1.0) -> bool:
            if faults.spares(tries) or not faults.strikes(kind, edge, 0, f"edge {request.edge}", weight=weight):
                return False
            kernel.log(edge, f"FAULT {kind}")
            return True

        faults.passed[f"edge {request.edge}"] += 1
        latency = 0.002 + 0.05 * faults.draw(edge, "latency")
        if strikes("delay", 2):
            latency = 1 + 60 * faults.draw(edge, "delay")
        reply = (lambda _: None) if strikes("answer_lost") else answer
        if not strikes("drop"):
            kernel.core.after(latency, lambda: self._arrive(label, request, reply))
        if strikes("duplicate"):
            latency += max(0.0, 10 * faults.draw(edge, "duplicate") - 5)  # half of them at the same moment
            kernel.core.after(latency, lambda: self._arrive(label, request, lambda _: None))

    def wake_relay(self) -> None:
        """The wake after a commit, which does not wait for its answer."""
        task = self.kernel.point("wake")
        if self.kernel.strikes("drop", "wake", weight=2):
            return
        name = relay(self.functions.catalog)
        url = self.functions.addresses.function(name)
        token = identity(service_account(task.function), url)
        request = Outgoing("wake", name, "POST", url, {"Authorization": f"Bearer {token}"}, b"", 30.0)
        self.send(request, lambda _: None)

    def _function(self, request: Outgoing) -> str:
        path = request.url.removeprefix(BASE_URL)
        if path.startswith("/_functions/"):
            return path.removeprefix("/_functions/").partition("/")[0]
        return self.functions.routes["/".join(path.partition("?")[0].split("/", 3)[:3])]

    # The instances

    def _arrive(self, label: str, request: Outgoing, reply: Callable[[Answer], None]) -> None:
        name = self._function(request)
        instance = self._pick(name, label)

        def done(answer: Answer | None) -> None:
            if answer is None:
                instance.dead = True
            reply(answer or Answer(0))

        self.kernel.spawn(label, lambda: self._serve(name, request), done, function=name, instance=instance)

    def _pick(self, name: str, label: str) -> Instance:
        """The instance that takes a request; a new one in the place of one that died."""
        function = self.functions.catalog.functions[name]
        slots = min(MAX_INSTANCES, function.max_instances)
        slot = (name, int(slots * self.kernel.faults.draw(label, self.kernel.counts.get(label, 0), "instance")))
        found = self.instances.get(slot)
        if found is None or found.dead:
            found = self.instances[slot] = self._start(name, function, len(self.instances))
        return found

    def _start(self, name: str, function: Function, number: int) -> Instance:
        faults, skew = self.kernel.faults, 0.0
        if faults.strikes("skew", f"{name}/{number}/{self.kernel.counts.get('instances', 0)}", 0, "clock", weight=3):
            skew = SKEW * (2 * faults.draw(name, number, "skew") - 1)
        self.kernel.counts["instances"] = self.kernel.counts.get("instances", 0) + 1
        database = None
        if function.database:
            role = function.database.role
            database = Database(lambda: self.database.connect(role), function.database.pool)
            database._turns = Slots(self.kernel, function.database.pool)
        return Instance(name, skew, database, Keyring(self.ports.keys))

    def _serve(self, name: str, request: Outgoing) -> Answer:
        path, _, query = request.url.removeprefix(BASE_URL).partition("?")
        if path.startswith("/_functions/"):
            path = "/"
        status: list[Any] = []
        environ = _environ(request, path, query)
        with settings.use(self.functions.environments[name]):
            body = b"".join(self.functions.loaded[name][1](environ, lambda *head: status.extend(head)))
        # The work is done; what is still to come is that the caller hears of it.
        self.kernel.point("answer")
        return Answer(int(status[0].split(" ", 1)[0]), body, dict(status[1]))


def identity(email: str, audience: str) -> str:
    """The token of a service account, as the functions of a run accept it."""
    return base64.urlsafe_b64encode(json.dumps([email, audience]).encode()).decode()


def access_token(subject: str, partner_id: UUID | None, role: str, tier: str = "basic") -> str:
    """The token of a client."""
    claims = [subject, str(partner_id) if partner_id else None, role, tier]
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).decode()


class _ServiceVerifier:
    def __init__(self, _: str, audience: str, allowed: str) -> None:
        self._audience = audience
        self._allowed = allowed.split(",")

    def verify(self, token: str) -> str:
        email, audience = json.loads(base64.urlsafe_b64decode(token))
        if email not in self._allowed:
            raise InvalidToken("email")
        if audience != self._audience:
            raise InvalidToken("audience")
        return email


class _Clients:
    def verify(self, token: str) -> Identity:
        subject, partner_id, role, tier = json.loads(base64.urlsafe_b64decode(token))
        return Identity(subject, UUID(partner_id) if partner_id else None, Role(role), Tier(tier))


_ClientVerifier = _Clients()


def _environ(request: Outgoing, path: str, query: str) -> dict[str, Any]:
    headers = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in request.headers.items()}
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "kapas.example.com",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_LENGTH": str(len(request.body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **headers,
    }
    if "HTTP_CONTENT_TYPE" in environ:
        environ["CONTENT_TYPE"] = environ.pop("HTTP_CONTENT_TYPE")
    return environ
