"""What the simulation gives the functions in place of Google's clients and the way to the partners' endpoints.

Every call is a point: others may run, and faults happen before the effect and after it.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from google.api_core.exceptions import AlreadyExists
from google.cloud import tasks_v2
from google.pubsub_v1 import types

from kapas.errors import Unavailable
from kapas.platform.ports import Document, Message, Tampered, Task
from kapas.values import clock, ids
from local_cloud.environment import PROJECT, TASK_CALLER
from local_cloud.pubsub_delivery import Broker
from local_cloud.tasks import CloudTasks
from tests.simulation.kernel import START, Kernel

CONTENTION_ATTEMPTS = 20
DEADLINES = "trade-deadlines"
"""The queue of what trades have due, which may be in months: a run does not wait for all of it."""


class Refused(Exception):
    """A service of Google did not do what it was asked, or does not say that it did."""


class Service:
    """What the ports have in common: a service that can be down, and whose answer can be lost."""

    failure: type[Exception] = Refused

    def __init__(self, kernel: Kernel, name: str, seconds: float = 0.0) -> None:
        """`seconds` is how long an answer takes at most: meanwhile others run."""
        self.kernel = kernel
        self.name = name
        self._seconds = seconds
        begin_end = kernel.faults.outages.get(name)
        self._outage = None if begin_end is None else (START + begin_end[0], START + begin_end[1])

    def before(self, operation: str) -> str:
        """A point before an effect. Raises `failure` if the service does not answer; the name of the point."""
        name = f"{self.name}.{operation}"
        task = self.kernel.point(name)
        if self._seconds:
            self.kernel.sleep(self._seconds * self.kernel.faults.draw(task.key, task.points, "takes"))
        if self._outage is not None and self._outage[0] <= self.kernel.core.now() < self._outage[1]:
            fault = ("outage", task.key, task.points)
            self.kernel.log(task.key, f"FAULT {self.name} is down")
            self.kernel.faults.note(*fault, f"{task.function}: {name}")
            raise self.failure(self.name)
        if self.kernel.strikes("unavailable", name):
            raise self.failure(self.name)
        return name

    def after(self, name: str) -> None:
        """A point after an effect. Raises `failure` if the answer is lost."""
        if self.kernel.strikes("effect_unanswered", name):
            raise self.failure(self.name)


class Bus(Service):
    """A `kapas.platform.ports.Bus` on the local Pub/Sub's broker."""

    def __init__(self, kernel: Kernel, broker: Broker) -> None:
        super().__init__(kernel, "bus")
        self._broker = broker

    def publish(self, messages: Sequence[Message]) -> Sequence[Exception | None]:
        topics = sorted({message.topic for message in messages})
        outcomes = {topic: iter(self._publish_to(topic, [m for m in messages if m.topic == topic])) for topic in topics}
        return [next(outcomes[message.topic]) for message in messages]

    def _publish_to(self, topic: str, messages: Sequence[Message]) -> Sequence[Exception | None]:
        try:
            name = self.before(f"publish {topic}")
        except Refused as failure:
            return [failure] * len(messages)
        taken = len(messages)
        if self.kernel.strikes("partial", name):
            # Nothing after the first failure is taken, so that no event overtakes an earlier one of its key.
            taken = int(len(messages) * self.kernel.faults.draw(self.kernel.alive().key, "taken"))
        self._publish(topic, messages[:taken])
        try:
            self.after(name)
        except Refused as failure:
            return [failure] * len(messages)
        return [None] * taken + [Refused(self.name)] * (len(messages) - taken)

    def _publish(self, topic: str, messages: Sequence[Message]) -> None:
        self.kernel.log(self.kernel.alive().key, f"publishes {len(messages)} to {topic}")
        if messages:
            pbs = [
                types.PubsubMessage.pb()(data=m.data, attributes=dict(m.attributes), ordering_key=m.ordering_key)
                for m in messages
            ]
            self._broker.publish(f"projects/{PROJECT}/topics/{topic}", pbs)


class Tasks(Service):
    """A `kapas.platform.ports.Tasks` on the local Cloud Tasks."""

    def __init__(self, kernel: Kernel, service: CloudTasks, region: str, url: Callable[[str], str]) -> None:
        super().__init__(kernel, "tasks")
        self._service = service
        self._parent = f"projects/{PROJECT}/locations/{region}/queues"
        self._url = url
        self.closes = datetime.max.replace(tzinfo=UTC)
        """What a trade has due after that is not waited for."""

    def enqueue(self, task: Task) -> bool:
        name = self.before(f"enqueue {task.function}")
        added = self._add(task)
        self.kernel.log(self.kernel.alive().key, f"enqueues {task.name}: {added}")
        self.after(name)
        return added

    def _add(self, task: Task) -> bool:
        queue = f"{self._parent}/{task.queue}"
        url = self._url(task.function)
        if task.queue == DEADLINES and task.schedule_time and task.schedule_time > self.closes:
            return False
        made = tasks_v2.Task(
            name=f"{queue}/tasks/{task.name}",
            http_request=tasks_v2.HttpRequest(
                url=url,
                headers={"Content-Type": "application/json", **task.headers},
                body=task.body,
                oidc_token=tasks_v2.OidcToken(service_account_email=TASK_CALLER, audience=url),
            ),
            schedule_time=task.schedule_time,
        )
        try:
            self._service.CreateTask(tasks_v2.CreateTaskRequest(parent=queue, task=made), None)
        except AlreadyExists:
            return False
        return True


class Documents(Service):
    """A `kapas.platform.ports.Documents` in memory, with Firestore's transactions: whoever commits second reads again."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel, "documents")
        self.stored: dict[str, tuple[int, Document]] = {}

    def update(self, path: str, change: Callable[[Document | None], Document | None]) -> None:
        for _ in range(CONTENTION_ATTEMPTS):
            self.before("read")
            version, document = self.stored.get(path, (0, None))
            changed = change(copy.deepcopy(document))
            if changed is None:
                return
            name = self.before("commit")
            if self.stored.get(path, (0, None))[0] != version:
                continue
            self.stored[path] = (version + 1, changed)
            self.kernel.log(self.kernel.alive().key, f"writes {path}", changed)
            self.after(name)
            return
        raise Refused("contention")

    def delete(self, path: str) -> None:
        try:
            name = self.before("delete")
            self.stored.pop(path, None)
            self.kernel.log(self.kernel.alive().key, f"deletes {path}")
            self.after(name)
        except Refused as failure:
            raise Unavailable("Firestore does not answer") from failure


class Keys(Service):
    """A `kapas.platform.ports.KeyService` in memory."""

    failure = Unavailable

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel, "keys")
        self._key = AESGCM(b"the key of keys".ljust(32))

    def wrap(self, key: bytes, context: bytes) -> bytes:
        name = self.before("wrap")
        nonce = ids.random_bytes(12)
        self.after(name)
        return nonce + self._key.encrypt(nonce, key, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        name = self.before("unwrap")
        self.after(name)
        try:
            return self._key.decrypt(wrapped[:12], wrapped[12:], context)
        except Exception:
            raise Tampered from None


class Signer(Service):
    """A `Signer` with one key for all runs. Its signatures repeat (RFC 6979), so that a seed's digest does."""

    failure = Unavailable
    key = ec.derive_private_key(int.from_bytes(b"the key of receipts"), ec.SECP256R1())
    pem = (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel, "keys", 0.1)

    def public_key(self) -> str:
        self.after(self.before("public_key"))
        return self.pem

    def sign(self, message: bytes) -> bytes:
        name = self.before("sign")
        r, s = decode_dss_signature(self.key.sign(message, ec.ECDSA(SHA256(), deterministic_signing=True)))
        self.after(name)
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


class Providers(Service):
    """A `partner_onboarding.providers.Providers`, whose every answer is good."""

    failure = Unavailable

    def __init__(self, kernel: Kernel, records: Any) -> None:
        """`records` is the module of the functions that has the classes of the answers."""
        super().__init__(kernel, "providers")
        self._records = records
        self.gst_registry = self.bank = self.screening = self

    def lookup(self, gstin: str, name: str, check_id: UUID) -> Any:
        self.after(self.before("lookup"))
        return self._records.GstRecord(reference=str(check_id), found=True, status="Active", legal_name=name)

    def penny_drop(self, ifsc: str, number: str, name: str, check_id: UUID) -> Any:
        self.after(self.before("penny_drop"))
        return self._records.BankRecord(reference=str(check_id), status="credited", registered_name=name)

    def search(self, names: Sequence[str], check_id: UUID) -> Any:
        self.after(self.before("search"))
        current = self._records.ScreeningList(version="1", published_at=clock.now())
        return self._records.ScreeningRecord(reference=str(check_id), list=current, hits=[])


class Sender:
    """A `webhook_delivery.service.Sender`: to the endpoints of the receiver."""

    def __init__(self, kernel: Kernel, receiver: Any, reply: Callable[..., Any]) -> None:
        self._kernel = kernel
        self._receiver = receiver
        self._reply = reply

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Any:
        task = self._kernel.point("sender.post")
        answer = self._receiver.take(task, url, headers, body)
        self._kernel.sleep(answer.seconds)
        self._kernel.point("sender.answered")
        milliseconds = round(answer.seconds * 1000)
        self._kernel.log(task.key, f"POST {url} answered", answer.status, answer.failure)
        return self._reply(answer.status, answer.failure, answer.retry_after, answer.body, milliseconds)
