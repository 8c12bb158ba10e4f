"""The outbox relay: the one publisher. Woken by functions after a commit, and every minute by Cloud Scheduler."""

from flask import Request, Response

from kapas.http import calls
from kapas.platform.db import Database
from kapas.platform.db.connect import open_database
from kapas.platform.once import once
from kapas.platform.ports import Bus
from kapas.platform.settings import CallerSettings, DatabaseSettings, load

from . import service


class Settings(DatabaseSettings, CallerSettings):
    """Settings of the relay."""


@once
def settings() -> Settings:
    return load(Settings)


@once
def database() -> Database:
    return open_database(settings())


@once
def bus() -> Bus:
    from kapas.platform.gcp.pubsub import PubSub

    return PubSub(settings().project)


@calls.entry_point
def outbox_relay(request: Request) -> Response:
    def work() -> Response:
        service.drain(database(), bus())
        return Response(status=204)

    return calls.answer(request, settings(), work)
