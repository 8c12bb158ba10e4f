"""One seed: the system, its clients and its faults, from the first request until everything has come to rest."""

import base64
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from local_cloud.core import Answer, Outgoing
from tests.simulation import files, invariants, ports
from tests.simulation.client import Response
from tests.simulation.cloud import Cloud
from tests.simulation.faults import Fault, Faults
from tests.simulation.fleet import Fleet, Functions, Ports
from tests.simulation.kernel import START, Kernel, Trace
from tests.simulation.receiver import Receiver
from tests.simulation.sql import Server, SimulatedDatabase

CLOSES = 5
"""Days. What trades have due after that, in most runs, is not waited for."""
HORIZON = timedelta(days=40)
"""By then, at the latest, everything has come to rest."""


@dataclass
class World:
    """One run. `told` is what clients were told, `names` what the objects of a run are called in logs."""

    kernel: Kernel
    functions: Functions
    server: Server
    receiver: Receiver
    responses: list[Response] = field(default_factory=list[Response])
    erased: dict[UUID, Any] = field(default_factory=dict[UUID, Any])
    """The partners whose erasure was asked for."""
    history: list[Any] = field(default_factory=list[Any])
    """What was written years ago: see history.py."""
    held: dict[tuple[int, Any], list[str]] = field(default_factory=dict[tuple[int, Any], list[str]])
    """What of it a legal hold keeps, by the hold's number and its id, and what there was of it."""
    names: dict[str, str] = field(default_factory=dict[str, str])
    states: dict[str, str] = field(default_factory=dict[str, str])
    """Where each partner is registered for GST."""

    def __post_init__(self) -> None:
        kernel = self.kernel
        self.database = SimulatedDatabase(kernel, self.server)
        self.fleet = Fleet(kernel, self.functions, self.database, self.label)
        kernel.send = self.send
        catalog, addresses = self.functions.catalog, self.functions.addresses
        self.cloud = Cloud(kernel, self.functions)
        webhooks = self.functions.module("webhook-attempt").service
        self.documents = ports.Documents(kernel)
        self.archives, self.uploads = files.Files(kernel, "exports"), files.Files(kernel, "uploads")
        self.fleet.ports = Ports(
            ports.Bus(kernel, self.cloud.broker),
            ports.Tasks(kernel, self.cloud.tasks, catalog.region, addresses.function),
            self.documents,
            ports.Keys(kernel),
            ports.Sender(kernel, self.receiver, webhooks.sending.Reply),
            ports.Providers(kernel, self.functions.module("partner-check").checks.providers),
            ports.Signer(kernel),
            self.archives,
            self.uploads,
            files.Eyes(kernel, self.functions.module("grading-task").service),
        )
        self.closes_after(CLOSES)

    def closes_after(self, days: int) -> None:
        """Have trades' deadlines be met until then; what they have due later is not waited for."""
        self.closes = self.fleet.ports.tasks.closes = START + timedelta(days=days)

    def client(self, name: str, script: Callable[[], None], start: float) -> None:
        """Have a client begin its work `start` seconds after the run's start."""

        def begin() -> None:
            self.kernel.spawn(name, script, lambda _: None, function="client")

        self.kernel.core.at(START + timedelta(seconds=start), begin)

    def elapsed(self) -> float:
        """Virtual seconds since the start."""
        return (self.kernel.core.now() - START).total_seconds()

    def send(self, request: Outgoing, done: Callable[[Answer], None]) -> None:
        if request.edge != "schedule":
            self.cloud.stretch.active = self.kernel.core.now()
        self.fleet.send(request, done)

    def name(self, thing: str, name: str) -> None:
        """Call a thing of this run, by its id, so in logs."""
        self.names.setdefault(thing, name)

    def called(self, thing: str) -> str:
        return self.names.setdefault(thing, f"thing {len(self.names)}")

    def label(self, function: str, request: Outgoing) -> str:
        """What an invocation is called: by what it is about, so that the same work has the same name in a changed run."""
        match request.edge:
            case "api":
                return f"{function} for {request.name}"
            case "push":
                event = json.loads(base64.b64decode(json.loads(request.body)["message"]["data"]))
                return f"{function} of {event['type']} {event['sequence']} of {self.called(event['subject'])}"
            case "task":
                work = json.loads(request.body)
                about = " ".join(self.called(v) if isinstance(v, str) else str(v) for v in work.values())
                return f"{function} of {about}"
            case _:
                # Each is a piece of work of its own, not another try of the one before.
                return f"{function} by {request.edge} at {self.kernel.core.now():%d %H:%M:%S.%f}"

    def rests(self) -> bool:
        """Whether everything has come to rest: nothing is on its way, and the database holds nothing unfinished."""
        if self.kernel.core.next_due(recurring=False) is not None:
            return False
        if self.kernel.core.now() > START + HORIZON:
            self.kernel.violation(f"never finished: {invariants.unfinished(self)}")
        return not invariants.unfinished(self)


@dataclass(frozen=True)
class Result:
    """What came of a run. Two runs of one seed have one digest."""

    seed: int
    digest: str
    violations: list[str]
    faults: list[Fault]
    passed: dict[str, int]
    struck: dict[str, int]
    turns: int
    days: float
    """Of virtual time."""
    lines: list[Any] | None = None


def run(
    seed: int,
    server: Server,
    functions: Functions,
    workload: Callable[[World], None],
    *,
    template: str = "",
    suppressed: Collection[Fault] = (),
    frequent: Collection[str] = (),
    keep: bool = False,
) -> Result:
    """Run one seed, its faults as `Faults` is told. It begins with the rows of the schema `template`, if one is named; with
    `keep`, its every line is in the result."""
    invariants.reset(server.admin, template)
    faults = Faults(seed, suppressed, frequent)
    trace = Trace([] if keep else None)
    kernel = Kernel(seed, faults, trace)
    world = World(kernel, functions, server, Receiver(kernel))
    workload(world)
    kernel.run(world.rests)
    kernel.violations += invariants.during(server.admin)
    if not kernel.violations:
        kernel.violations += invariants.at_rest(world)
    kernel.abandon()
    world.database.close()
    for violation in kernel.violations:
        kernel.log("invariant", violation)
    return Result(
        seed,
        trace.hash.hexdigest(),
        kernel.violations,
        faults.fired,
        dict(faults.passed),
        dict(faults.struck),
        trace.count,
        (kernel.core.now() - START) / timedelta(days=1),
        trace.lines,
    )
