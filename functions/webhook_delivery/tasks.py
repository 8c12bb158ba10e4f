"""Cloud Tasks: attempts to deliver what waits for one endpoint."""

from kapas.http.function import Function
from kapas.platform.settings import (
    DatabaseSettings,
    HandlerSettings,
    KeySettings,
    RelaySettings,
    Settings,
    TaskSettings,
)

from . import dispatch, guard, service
from .slots import Slots


class ThreadSettings(Settings):
    """How many attempts an instance makes at once: its concurrency in the catalog."""

    threads: int = 16


function = Function(
    DatabaseSettings, HandlerSettings, TaskSettings, RelaySettings, KeySettings, guard.HostSettings, ThreadSettings
)


def sender() -> service.Sender:
    return function.keep("sender", _make_sender)


def slots() -> Slots:
    return function.keep("slots", lambda: Slots(function.settings(ThreadSettings).threads))


def _make_sender() -> service.Sender:
    from .transport import HttpSender  # sockets and TLS, which the function for partners does not need

    return HttpSender(function.settings(guard.HostSettings).allowed_hosts)


@function.on_task(dispatch.AttemptTask)
def webhook_attempt(task: dispatch.AttemptTask) -> bool:
    return service.attempt(function.database, function.keyring, function.tasks, sender(), slots(), task)
