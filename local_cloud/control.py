"""The local cloud's own endpoints, under `/_local/`: to look into it and to move its time. They exist nowhere else.

POST /_local/clock     {"advance": "PT2H"}                       move time; answers {"now"}
POST /_local/token     {"sub", "partner_id", "role", "tier"}     answers {"access_token"}
POST /_local/faults    {"kind", "edge", "match", "times"}        break what is delivered next; DELETE clears
GET  /_local/outbox, /topics, /tasks, /documents, /endpoints     what is pending, and where things are
GET  /_local/jwks/google, /_local/jwks/platform                  the key sets that tokens are signed with
GET  /_local/metadata/<function>/computeMetadata/...             the metadata server of each function
*    /_local/receiver/<name>                                     a webhook receiver (`receiver.py`)
*    /_local/providers/<name>                                    who is asked about a partner (`providers.py`)
"""

import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Protocol
from uuid import UUID

from flask import Flask, Response, jsonify, request
from pg8000.native import Connection

from kapas.http.identity import Role, Tier
from kapas.values.clock import rfc3339
from local_cloud.core import Core
from local_cloud.driver import SETTLE_SECONDS, Driver
from local_cloud.environment import DATABASE, TOKEN_AUDIENCE, TOKEN_ISSUER, service_account
from local_cloud.faults import Faults, Rule
from local_cloud.firestore import Firestore
from local_cloud.oidc import Issuer
from local_cloud.page import reference
from local_cloud.postgres import Postgres
from local_cloud.pubsub import PubSub
from local_cloud.tasks import CloudTasks
from tools.catalog import ROOT

_UNSETTLED = f"requests are still unanswered after {SETTLE_SECONDS:.0f} seconds: GET /_local/tasks and /_local/topics"

OPENAPI = ROOT / "docs/api/openapi.json"

_DURATION = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")


def duration(text: str) -> timedelta:
    """An ISO 8601 duration in days, hours, minutes and seconds. Raises ValueError with what is expected."""
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groups()):
        raise ValueError("a duration is written like P3D, PT2H or P1DT12H30M")
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


class Controlled(Protocol):
    """What the endpoints look into: the local cloud."""

    core: Core
    driver: Driver
    faults: Faults
    issuer: Issuer
    postgres: Postgres
    pubsub: PubSub
    tasks: CloudTasks
    firestore: Firestore

    @property
    def endpoints(self) -> dict[str, str]: ...


def control(cloud: Controlled) -> Flask:
    """The endpoints as a Flask application."""
    app = Flask("control")

    @app.errorhandler(ValueError)
    @app.errorhandler(KeyError)
    @app.errorhandler(TypeError)
    def refuse(error: Exception) -> tuple[Response, int]:
        return jsonify(error=str(error)), 400

    @app.get("/")
    def page() -> str:
        return reference(json.loads(OPENAPI.read_text()))

    @app.get("/openapi.json")
    def openapi() -> Response:
        return Response(OPENAPI.read_text(), content_type="application/json")

    @app.get("/_local/clock")
    @app.post("/_local/clock")
    def clock() -> Response | tuple[Response, int]:
        if request.method == "POST" and not cloud.driver.advance(duration(request.get_json()["advance"])):
            return jsonify(error=_UNSETTLED), 503
        return jsonify(now=rfc3339(cloud.core.now()))

    @app.post("/_local/settle")
    def settle() -> Response | tuple[Response, int]:
        if not cloud.driver.settle():
            return jsonify(error=_UNSETTLED), 503
        return jsonify(settled=True)

    @app.post("/_local/token")
    def token() -> Response:
        body = request.get_json()
        partner_id = body.get("partner_id")
        access_token = cloud.issuer.user_token(
            str(body["sub"]),
            None if partner_id is None else str(UUID(partner_id)),
            Role(body["role"]),
            Tier(body.get("tier", "free")),
            issuer=TOKEN_ISSUER,
            audience=TOKEN_AUDIENCE,
            lifetime=duration(body.get("lifetime", "PT1H")),
        )
        return jsonify(access_token=access_token)

    @app.get("/_local/jwks/<family>")
    def jwks(family: str) -> Response:
        if family not in ("google", "platform"):
            raise ValueError("the families are google and platform")
        return jsonify(cloud.issuer.jwks(family))

    @app.get("/_local/metadata/<function>/computeMetadata/v1/instance/service-accounts/default/identity")
    def identity(function: str) -> Response:
        token = cloud.issuer.token(service_account(function), request.args["audience"])
        return Response(token, content_type="text/plain")

    @app.get("/_local/metadata/<function>/computeMetadata/v1/instance/service-accounts/default/token")
    def access_token(function: str) -> Response:
        return jsonify(access_token=f"local-{function}", expires_in=3600, token_type="Bearer")  # noqa: S106

    @app.get("/_local/outbox")
    def outbox() -> Response:
        with Connection("postgres", host="127.0.0.1", port=cloud.postgres.port, database=DATABASE) as connection:
            rows = connection.run(
                "SELECT subject, sequence, topic, type, published_at FROM outbox ORDER BY occurred_at, subject, sequence"
            )
        events = [
            {"subject": str(r[0]), "sequence": r[1], "topic": r[2], "type": r[3], "published": r[4] is not None}
            for r in rows
        ]
        return jsonify(pending=sum(not event["published"] for event in events), events=events)

    views: dict[str, Callable[[], Any]] = {
        "topics": cloud.pubsub.pending,
        "tasks": cloud.tasks.pending,
        "endpoints": cloud.endpoints,
        "documents": lambda: dict(cloud.firestore.documents(request.args.get("prefix", ""))),
    }

    @app.get("/_local/<view>")
    def look(view: str) -> Response | tuple[Response, int]:
        if view not in views:
            return jsonify(error=f"there is {', '.join(views)}, outbox, clock, token, faults, jwks, receiver"), 404
        return jsonify(views[view]())

    @app.get("/_local/faults")
    @app.post("/_local/faults")
    @app.delete("/_local/faults")
    def faults() -> Response:
        if request.method == "POST":
            cloud.faults.add(Rule(**request.get_json()))
        elif request.method == "DELETE":
            cloud.faults.clear()
        return jsonify(cloud.faults.listed())

    return app
