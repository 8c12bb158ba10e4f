"""A deployed function: its settings, the clients it keeps, and what calls it.

    function = Function(DatabaseSettings, CallerSettings, TaskSettings, RelaySettings)

    @function.on_event
    def partner_submissions(event: CloudEvent) -> bool:
        return verification.begin(function.database, function.tasks, event)

Nothing is made at import: gunicorn imports the module in its parent and forks. Each client is made on first use, in the
worker, and kept for the life of the instance. A handler returns whether it wrote events; then the relay is woken.
"""

import base64
import binascii
import functools
import json
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from flask import Request, Response
from pydantic import BaseModel, ValidationError

from kapas.errors import Invalid
from kapas.http import calls
from kapas.http.calls import View, entry_point
from kapas.messaging.events import CloudEvent
from kapas.messaging.relay import waker
from kapas.platform import log
from kapas.platform.ports import Bus, Documents, Files, Signer, Tasks
from kapas.platform.settings import (
    GOOGLE_KMS,
    ApiSettings,
    ArchiveSettings,
    CallerSettings,
    DatabaseSettings,
    HandlerSettings,
    KeySettings,
    RelaySettings,
    Settings,
    SigningSettings,
    TaskSettings,
    UploadSettings,
    load_all,
)
from kapas.privacy.keys import Keyring

if TYPE_CHECKING:
    from kapas.platform.db import Database

P = TypeVar("P", bound=BaseModel)
S = TypeVar("S", bound=Settings)
T = TypeVar("T")


class Function:
    """One deployed function. `settings` are the models it reads its environment with."""

    def __init__(self, *settings: type[Settings]) -> None:
        self._models = settings
        self._kept: dict[str, Any] = {}
        self._lock = threading.RLock()

    def settings(self, model: type[S]) -> S:
        """The settings of `model`, one of those the function was given.

        Raises:
            SettingsError: names every variable that is missing or wrong, of all models at once.
        """
        loaded = self.keep("settings", lambda: load_all(self._models))
        return next(one for one in loaded if isinstance(one, model))

    @property
    def database(self) -> "Database":
        return self.keep("database", self._make_database)

    @property
    def tasks(self) -> Tasks:
        return self.keep("tasks", self._make_tasks)

    @property
    def bus(self) -> Bus:
        return self.keep("bus", self._make_bus)

    @property
    def documents(self) -> Documents:
        return self.keep("documents", self._make_documents)

    @property
    def uploads(self) -> Files:
        """The bucket of files that partners upload."""
        return self.keep("uploads", lambda: self._make_files(UploadSettings, "upload_bucket"))

    @property
    def archives(self) -> Files:
        """The bucket of exports."""
        return self.keep("archives", lambda: self._make_files(ArchiveSettings, "export_bucket"))

    @property
    def keyring(self) -> Keyring:
        return self.keep("keyring", self._make_keyring)

    @property
    def signer(self) -> Signer:
        return self.keep("signer", self._make_signer)

    def wake(self) -> None:
        """Have the relay publish what was committed."""
        self.keep("wake", lambda: waker(self.settings(RelaySettings)))()

    def keep(self, name: str, make: Callable[[], T]) -> T:
        """What `make` returned at the first use of `name`, also when several threads ask at once. A failure is not kept."""
        if name not in self._kept:
            with self._lock:
                if name not in self._kept:
                    self._kept[name] = make()
        return cast(T, self._kept[name])

    # What calls it

    def on_event(self, handle: Callable[[CloudEvent], bool | None]) -> View:
        """An entry point for Pub/Sub pushes: check the caller, parse the event, handle it.

        204 acknowledges. Any other answer has Pub/Sub deliver again and, after the subscription's attempts, move the
        message to its dead-letter topic. A message that can never be read ends there too; none is dropped.
        """

        @functools.wraps(handle)
        def push(request: Request) -> Response:
            settings = self.settings(CallerSettings)

            def work() -> Response:
                event = _event(request)
                with calls.follow(event.traceparent, settings):
                    self._run(lambda: handle(event))
                    log.info(
                        "event_handled",
                        event_id=event.id,
                        type=event.type,
                        subject=event.subject,
                        sequence=event.sequence,
                    )
                return Response(status=204)

            return calls.answer(request, settings, work)

        return entry_point(push)

    def on_task(self, payload: type[P]) -> Callable[[Callable[[P], bool | None]], View]:
        """An entry point for Cloud Tasks: check the caller, parse the payload, do the work.

        204 ends the task. A failure answers 5xx, and Cloud Tasks tries again as the queue says. Cloud Tasks drops a task
        silently after its last try, so that failure is logged as `task_given_up`. A payload that does not parse ends the
        task with an error in the log: every later try would fail alike.
        """

        def decorate(work: Callable[[P], bool | None]) -> View:
            @functools.wraps(work)
            def dispatch(request: Request) -> Response:
                settings = self.settings(HandlerSettings)

                def run() -> Response:
                    name = request.headers.get("X-CloudTasks-TaskName", "")
                    try:
                        parsed = payload.model_validate_json(request.get_data())
                    except ValidationError:
                        log.error("task_unreadable", task=name)
                        return Response(status=204)
                    try:
                        self._run(lambda: work(parsed))
                    except Exception as failure:
                        retries = request.headers.get("X-CloudTasks-TaskRetryCount", 0, type=int)
                        if retries + 1 >= settings.task_attempts:
                            log.error("task_given_up", failure, task=name)
                        raise
                    return Response(status=204)

                return calls.answer(request, settings, run)

            return entry_point(dispatch)

        return decorate

    def on_schedule(self, work: Callable[[], bool | None]) -> View:
        """An entry point for Cloud Scheduler, and for whoever else may call: check the caller, do the work."""

        @functools.wraps(work)
        def tick(request: Request) -> Response:
            def run() -> Response:
                self._run(work)
                return Response(status=204)

            return calls.answer(request, self.settings(CallerSettings), run)

        return entry_point(tick)

    def _run(self, work: Callable[[], bool | None]) -> None:
        if work():
            self.wake()

    # The driver and Google's clients cost 20 to 250 ms each at import: only a function that uses one pays for it.

    def _make_database(self) -> "Database":
        from kapas.platform.db.connect import open_database

        return open_database(self.settings(DatabaseSettings))

    def _make_tasks(self) -> Tasks:
        from kapas.platform.gcp.tasks import CloudTasks

        return CloudTasks(self.settings(TaskSettings))

    def _make_bus(self) -> Bus:
        from kapas.platform.gcp.pubsub import PubSub

        return PubSub(self.settings(Settings).project)

    def _make_documents(self) -> Documents:
        from kapas.platform.gcp.firestore import Firestore

        return Firestore(self.settings(Settings).project)

    def _make_files(self, model: type[UploadSettings | ArchiveSettings], bucket: str) -> Files:
        from kapas.platform.gcp.storage import CloudStorage

        settings = self.settings(model)
        return CloudStorage(getattr(settings, bucket), settings)

    def _make_keyring(self) -> Keyring:
        settings = self.settings(KeySettings)
        if self._has_grpc and (settings.kms_endpoint or settings.kms_url == GOOGLE_KMS):
            from kapas.platform.gcp.kms_client import KmsClient

            return Keyring(KmsClient(settings.kms_key, settings.kms_endpoint))
        from kapas.platform.gcp.kms import CloudKms

        return Keyring(CloudKms(settings.kms_key, settings.kms_url))

    @property
    def _has_grpc(self) -> bool:
        """Whether no client waits for a cold start that imports grpc anyway: the function enqueues, and serves none."""
        given = set(self._models)
        return TaskSettings in given and not any(issubclass(model, ApiSettings) for model in given)

    def _make_signer(self) -> Signer:
        from kapas.platform.gcp.kms_signer import KmsSigner

        settings = self.settings(SigningSettings)
        return KmsSigner(settings.receipt_key, settings.kms_url)


def _event(request: Request) -> CloudEvent:
    try:
        envelope: Any = json.loads(request.get_data())
        return CloudEvent.model_validate_json(base64.b64decode(envelope["message"]["data"], validate=True))
    except (ValueError, KeyError, TypeError, binascii.Error, ValidationError):
        raise Invalid("The message does not contain a valid CloudEvent") from None
