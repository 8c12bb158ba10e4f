"""The live feed: projects events to the Firestore documents that clients listen to."""

from flask import Request, Response

from kapas.http.calls import entry_point
from kapas.messaging import events
from kapas.platform.once import once
from kapas.platform.ports import Documents
from kapas.platform.settings import CallerSettings, load

from . import service


@once
def settings() -> CallerSettings:
    return load(CallerSettings)


@once
def documents() -> Documents:
    from kapas.platform.gcp.firestore import Firestore

    return Firestore(settings().project)


@entry_point
def live_feed(request: Request) -> Response:
    return events.receive(request, settings(), lambda event: service.project(documents(), event))
