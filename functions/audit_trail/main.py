"""The audit trail: one row per event and per access to personal data, from every topic."""

from flask import Request, Response

from kapas import events
from kapas.calls import entry_point
from kapas.db import PLATFORM, Database
from kapas.db.connect import open_database
from kapas.once import once
from kapas.settings import CallerSettings, DatabaseSettings, load

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
