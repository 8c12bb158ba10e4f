"""The audit trail: one row per event and per access to personal data, from every topic."""

from flask import Request, Response

from kapas.http.calls import entry_point
from kapas.messaging import events
from kapas.platform.db import PLATFORM, Database
from kapas.platform.db.connect import open_database
from kapas.platform.once import once
from kapas.platform.settings import CallerSettings, DatabaseSettings, load

from . import service


class Settings(DatabaseSettings, CallerSettings):
    """Settings of the audit trail."""


@once
def settings() -> Settings:
    return load(Settings)


@once
def database() -> Database:
    return open_database(settings())


@entry_point
def audit_trail(request: Request) -> Response:
    def record(event: events.CloudEvent) -> None:
        with database().session(PLATFORM) as db:
            service.record(db, event)

    return events.receive(request, settings(), record)
