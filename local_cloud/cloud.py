"""The whole cloud on one machine, in one process: PostgreSQL, Google's services, and every function of the catalog."""

import errno
import logging
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import waitress.server
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcTransport
from google.cloud.kms_v1.services.key_management_service.transports import KeyManagementServiceGrpcTransport
from google.cloud.scheduler_v1.services.cloud_scheduler.transports import CloudSchedulerGrpcTransport
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
    SecretManagerServiceGrpcTransport,
)
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from kapas.messaging import relay
from kapas.values import clock
from local_cloud import gapic, outside
from local_cloud.control import control
from local_cloud.core import Core, VirtualClock
from local_cloud.driver import Driver
from local_cloud.environment import Addresses, environment
from local_cloud.faults import Faults
from local_cloud.firestore import Firestore
from local_cloud.functions import Functions, Wsgi
from local_cloud.iam_credentials import IamCredentials
from local_cloud.kms import Kms
from local_cloud.kms_rest import KmsRest
from local_cloud.oidc import Issuer
from local_cloud.postgres import Postgres
from local_cloud.providers import Providers
from local_cloud.provision import prepare_database, provision
from local_cloud.pubsub import PubSub
from local_cloud.receiver import Receiver
from local_cloud.scheduler import CloudScheduler
from local_cloud.secrets import SecretManager
from local_cloud.state import State
from local_cloud.storage import Storage
from local_cloud.tasks import CloudTasks
from local_cloud.transport import HttpTransport
from tools.catalog import ROOT, Catalog, catalog

THREADS = 48
"""Requests served at once. A push is answered by a function in this process, so there are more than senders."""
SENDERS = 24


class PortTaken(Exception):
    """The port that was asked for is in use."""


class LocalCloud:
    """Starts in `__enter__`, stops in `__exit__` without leaving a process.

    With a `folder` its data outlives it, also `kill -9`; without one it is forgotten.
    """

    def __init__(
        self,
        folder: Path | None = None,
        port: int = 0,
        *,
        functions: Path = ROOT / "functions",
        described: Catalog | None = None,
    ) -> None:
        """`port` 0 takes any free one. `functions` and `described` are the functions' folder and their catalog."""
        self._folder = folder
        self._port = port
        self._functions = functions
        self.catalog = described or catalog()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        return self.addresses.base_url

    def endpoints(self) -> dict[str, str]:
        """Where the official clients find the services: the variables that Google's libraries read, and ours."""
        return {
            "PUBSUB_EMULATOR_HOST": self.addresses.grpc,
            "FIRESTORE_EMULATOR_HOST": self.addresses.grpc,
            "STORAGE_EMULATOR_HOST": self.addresses.storage,
            "LOCAL_GRPC": self.addresses.grpc,
            "DATABASE": self.postgres.dsn(),
        }

    def _start(self, stack: ExitStack) -> None:
        folder = self._folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kapas-")))
        folder.mkdir(parents=True, exist_ok=True)
        listener = stack.enter_context(_listen(self._port))
        base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        if self._folder is None:
            stack.callback(outside.forget, folder / "postgres")
        # PostgreSQL first: gRPC's threads do not survive the fork that starts it.
        self.postgres = stack.enter_context(Postgres(folder / "postgres", durable=self._folder is not None))
        prepare_database(self.catalog, self.postgres.port)

        state = State(folder / "google.sqlite" if self._folder else None)
        stack.callback(state.close)
        transport = HttpTransport(SENDERS)
        stack.callback(transport.close)
        self.core = Core(transport, clock=VirtualClock(state=state))
        self.core.interrupt = self.faults = Faults(self.core, transport)
        self.issuer = Issuer(state, self.core.now)
        self.pubsub = PubSub(self.core, state, self.issuer.token)
        self.tasks = CloudTasks(self.core, state, self.issuer.token, base_url)
        self.firestore = Firestore(self.core, state)
        self.kms = Kms(self.core, state)
        self.receiver = Receiver(self.core.now, state)
        self.providers = Providers(self.core.now, state)
        scheduler = CloudScheduler(self.core, state, self.issuer.token)
        server, grpc_port = gapic.serve(
            {
                PublisherGrpcTransport: self.pubsub,
                SubscriberGrpcTransport: self.pubsub,
                CloudTasksGrpcTransport: self.tasks,
                CloudSchedulerGrpcTransport: scheduler,
                FirestoreGrpcTransport: self.firestore,
                KeyManagementServiceGrpcTransport: self.kms,
                SecretManagerServiceGrpcTransport: SecretManager(self.core, state),
            }
        )
        stack.callback(lambda: server.stop(0).wait())

        self.storage = Storage(self.core, state, folder / "storage")
        storage_url = f"http://127.0.0.1:{_serve(stack, self.storage, _listen(0), 8)}"
        self.addresses = Addresses(base_url, f"127.0.0.1:{grpc_port}", self.postgres.port, storage_url)
        for name in ("PUBSUB_EMULATOR_HOST", "FIRESTORE_EMULATOR_HOST"):
            _set_variable(stack, name, self.addresses.grpc)
        provision(self.catalog, self.addresses)

        environments = {name: environment(self.catalog, name, self.addresses) for name in self.catalog.functions}
        self.functions = Functions(self.catalog, self._functions, environments, self.core.now)
        # For threads of the functions' own; a request has its clock from `Functions.call`.
        stack.callback(clock.install, clock.install(self.core.now))
        stack.callback(relay.watch, relay.watch(self.core.count))
        stack.callback(self.receiver.release)
        stack.callback(self.providers.release)
        _serve(stack, _Router(self), listener, THREADS)
        self.driver = Driver(self.core)
        self.driver.start()
        stack.callback(self.driver.stop)


class _Router:
    """The one HTTP port: functions at their routes, `/_local/` and Google's REST interfaces under `/_google/` beside them."""

    def __init__(self, cloud: LocalCloud) -> None:
        self._functions = cloud.functions
        self._control: Wsgi = control(cloud)
        self._google: dict[str, Wsgi] = {"kms": KmsRest(cloud.kms), "iamcredentials": IamCredentials(cloud.storage)}
        self._receiver: Wsgi = cloud.receiver
        self._providers: Wsgi = cloud.providers

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path: str = environ.get("PATH_INFO") or "/"
        found = self._functions.at(path)
        if found is not None:
            return self._functions.call(*found, environ, start_response)
        if path.startswith("/_google/"):
            service, _, rest = path.removeprefix("/_google/").partition("/")
            if service in self._google:
                environ["PATH_INFO"] = f"/{rest}"
                return self._google[service](environ, start_response)
        if path.startswith("/_local/receiver"):
            return self._receiver(environ, start_response)
        if path.startswith("/_local/providers"):
            return self._providers(environ, start_response)
        return self._control(environ, start_response)


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(f"port {port} is taken: choose another, make run PORT=8081") from None
        raise
    return listener


def _serve(stack: ExitStack, app: Any, listener: socket.socket, threads: int) -> int:
    """Serve a WSGI application on a bound socket, on threads; its port."""
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    server: Any = waitress.server.create_server(
        app, sockets=[listener], threads=threads, ident="kapas", channel_timeout=300, asyncore_use_poll=True
    )
    thread = threading.Thread(target=server.run, name="http", daemon=True)
    thread.start()

    def stop() -> None:
        # First what is being answered: a thread that comes back to a closed server complains.
        server.task_dispatcher.shutdown(timeout=1)
        server.close()

    stack.callback(stop)
    return listener.getsockname()[1]


def _set_variable(stack: ExitStack, name: str, value: str) -> None:
    """Google's clients read these themselves; restored when the cloud stops."""
    before = os.environ.get(name)
    os.environ[name] = value
    stack.callback(lambda: os.environ.__setitem__(name, before) if before is not None else os.environ.pop(name, None))
