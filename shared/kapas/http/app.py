"""HTTP for clients: one `App` a capability, with everything that is the same for all.

    app = App("Trade events", Function(ApiSettings))

    @app.post("/v1/trades", responses={201: Trade})
    def offer(body: LotOffer) -> Response:
        with app.session() as db:
            return app.commit(db, service.offer(app.caller, body), status=201)

    @entry_point
    def trade_events(request: Request) -> Response:
        return app.serve(request)

What every request gets: identity, version negotiation, an idempotency key on POST, bodies that are bounded JSON,
problem+json for every failure, a trace and security headers.
"""

import io
import re
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import date
from typing import Any, NoReturn

from flask import Request, Response, g, request
from flask_openapi3.models.info import Info
from flask_openapi3.openapi import OpenAPI
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import HTTPException

from kapas.errors import (
    BadRequest,
    Erased,
    FieldError,
    Forbidden,
    Invalid,
    PreconditionFailed,
    PreconditionRequired,
    Problem,
    StillRunning,
    TooLarge,
    Unauthenticated,
    UnsupportedMediaType,
    UnsupportedVersion,
    VersionConflict,
)
from kapas.http import bodies
from kapas.http.calls import SECURITY_HEADERS, as_problem, problem_response
from kapas.http.function import Function
from kapas.http.identity import Identity, InvalidToken, Verifier, bearer
from kapas.messaging import outbox
from kapas.messaging.events import Event
from kapas.messaging.idempotency import Answer, Ticket, recall, ticket
from kapas.messaging.outbox import Change
from kapas.platform import log, trace
from kapas.platform.db import PLATFORM, DatabaseFailure, LockTimeout, Session
from kapas.platform.once import once
from kapas.platform.settings import ApiSettings
from kapas.privacy.keys import Shredded

MAX_BODY = 1 << 20
"""Bytes a request body may have."""
_ETAG = re.compile(r'"?([0-9]{1,18})"?')


@dataclass(frozen=True, slots=True)
class Version:
    """One version of the API. A deprecated one answers `Deprecation` (RFC 9745) and `Sunset` (RFC 8594)."""

    deprecated: date | None = None
    sunset: date | None = None


VERSIONS: dict[str, Version] = {"2026-11-01": Version()}
"""What `X-API-Version` may ask for; without the header, the last."""


_describing: ContextVar[bool] = ContextVar("kapas.http.app.describing", default=False)


@contextmanager
def described() -> Generator[None]:
    """Have apps that are made within this context describe themselves as OpenAPI (`api_doc`).

    It costs a JSON Schema per model, at each cold start; only `make docs` and its tests ask for it.
    """
    token = _describing.set(True)
    try:
        yield
    finally:
        _describing.reset(token)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a use case decided: the change to write, and the resource as it is after it."""

    change: Change
    resource: BaseModel
    version: int
    """The aggregate's version after the change: its ETag."""


class App(OpenAPI):
    """The HTTP side of one capability."""

    json_provider_class = bodies.ExactJson

    def __init__(
        self,
        title: str,
        function: Function,
    ) -> None:
        super().__init__(title, info=Info(title=title, version=next(reversed(VERSIONS))), doc_ui=False)
        self.validation_error_callback = _invalid
        self.function = function
        self.verifier = once(self._make_verifier)
        self.before_request(self._check)
        self.after_request(self._finish)
        self.register_error_handler(Exception, self._failed)

    # What the views use

    @property
    def caller(self) -> Identity:
        """Who sent this request."""
        return g.caller

    def session(self) -> AbstractContextManager[Session]:
        """A database session that shows what the caller may see."""
        return self.function.database.session(self.caller.partner_id if self.caller.role.of_partner else PLATFORM)

    def if_match(self) -> int:
        """The version that the client's If-Match names.

        Raises:
            PreconditionRequired: the header is missing.
            PreconditionFailed: it is not one of this API's ETags.
        """
        value = request.headers.get("If-Match")
        if value is None:
            raise PreconditionRequired("Read the resource and send its ETag in If-Match")
        version = _ETAG.fullmatch(value)
        if version is None:
            raise PreconditionFailed("If-Match must be the ETag from the last read of the resource")
        g.if_match = True
        return int(version[1])

    def answer(self, resource: BaseModel, *, status: int = 200, version: int | None = None) -> Response:
        """`resource` as JSON, with its ETag if it has a version."""
        headers = {} if version is None else {"ETag": f'"{version}"'}
        return Response(resource.model_dump_json(), status, headers, content_type="application/json")

    def commit(self, db: Session, outcome: Outcome, *, status: int = 200) -> Response:
        """Write what the use case decided, together with its events and the answer that a repeated request will get.

        Raises:
            VersionConflict, PreconditionFailed: somebody else changed the aggregate first.
        """
        answer = Answer(status, outcome.resource.model_dump_json(), {"ETag": f'"{outcome.version}"'})
        outbox.commit(db, outcome.change, g.get("ticket"), answer if g.get("ticket") else None)
        g.published = True
        return _respond(answer)

    def publish(self, db: Session, *events: Event) -> None:
        """Write events that record something other than a change of a row, an access for example."""
        outbox.publish(db, *events)
        g.published = True

    def published(self) -> None:
        """Wake the relay after this answer, because the use case itself wrote events."""
        g.published = True

    # What the entry point uses

    def serve(self, incoming: Request) -> Response:
        """Answer a request that functions-framework hands over."""
        with trace.use(trace.follow(incoming.headers.get("traceparent"), self.function.settings(ApiSettings).project)):
            environ = incoming.environ
            if (incoming.content_length or 0) <= MAX_BODY:
                # The body is read here, once and bounded, so that both the outer and this app may read it.
                body = incoming.stream.read(MAX_BODY + 1)
                environ["wsgi.input"] = io.BytesIO(body)
                environ["CONTENT_LENGTH"] = str(len(body))
            # As Flask.wsgi_app does, without turning the response into bytes and back for the framework's app.
            with self.request_context(environ):
                return self.full_dispatch_request()

    # What happens around every request

    def _collect_openapi_info(self, rule: str, func: Callable[..., Any], **options: Any) -> Any:
        options["doc_ui"] = _describing.get()
        return super()._collect_openapi_info(rule, func, **options)

    def _make_verifier(self) -> Verifier:
        settings = self.function.settings(ApiSettings)
        return Verifier(settings.token_jwks_url, settings.token_issuer, settings.token_audience)

    def _check(self) -> None:
        if request.routing_exception is not None:
            raise request.routing_exception
        bodies.refuse_nul((f"query:{name}", value) for name, value in request.args.items(multi=True))
        if (request.content_length or 0) > MAX_BODY:
            raise TooLarge(f"A request body may have at most {MAX_BODY} bytes")
        g.version = request.headers.get("X-API-Version", next(reversed(VERSIONS)))
        if g.version not in VERSIONS:
            raise UnsupportedVersion(f"X-API-Version must be one of {', '.join(VERSIONS)}")
        try:
            g.caller = self.verifier().verify(bearer(request.headers.get("Authorization")))
        except InvalidToken as error:
            raise Unauthenticated(f"The access token is not accepted: {error.reason}") from None
        if request.method in ("POST", "PUT", "PATCH"):
            body = request.get_data()
            if body:
                self._check_json(body)
            if request.method == "POST":
                g.ticket = self._ticket(body)

    def _check_json(self, body: bytes) -> None:
        if not request.is_json:
            raise UnsupportedMediaType()
        try:
            parsed = request.get_json()
        except (HTTPException, ValueError, RecursionError):
            raise BadRequest("The body is not valid JSON") from None
        if not isinstance(parsed, dict):  # flask-openapi3 would read a string once more, behind what looked at it here
            message = "The body must be a JSON object"
            raise Invalid(message, errors=[FieldError("", "model_type", message)])
        if b"\\u0000" in body:
            bodies.refuse_nul(bodies.texts(parsed))

    def _ticket(self, body: bytes) -> Ticket:
        key = request.headers.get("Idempotency-Key")
        if key is None:
            message = (
                "Send an Idempotency-Key with every POST, so that it can be retried safely; a UUID is a good choice"
            )
            raise BadRequest(message, errors=[FieldError("header:Idempotency-Key", "missing", message)])
        caller = self.caller
        principal = f"{caller.partner_id or ''}/{caller.subject}"
        return ticket(principal, key, request.method, request.full_path, body)

    def _failed(self, error: Exception) -> Response:
        problem = _as_problem(error)
        held: Ticket | None = g.get("ticket")
        if held is not None and (problem.status < 500 or isinstance(error, DatabaseFailure)):
            # The request may have been answered before: then it failed only because it was repeated, whatever the
            # reason looks like by now (a trade that went to somebody else is not even found any more).
            try:
                with self.function.database.session(None) as db:
                    remembered = recall(db, held)
            except Problem as reused:
                problem, remembered = reused, None
            if remembered is not None:
                response = _respond(remembered)
                response.headers["Idempotent-Replayed"] = "true"
                return response
        if problem.status >= 500:
            log.error("request_failed", error, method=request.method, route=str(request.url_rule))
        return problem_response(problem, request.path)

    def _finish(self, response: Response) -> Response:
        headers = response.headers
        headers.update(SECURITY_HEADERS)
        name = g.get("version")
        version = VERSIONS.get(name or "")
        if version is not None:
            headers["X-API-Version"] = name
            if version.deprecated:
                headers["Deprecation"] = version.deprecated.strftime("@%s")
            if version.sunset:
                headers["Sunset"] = version.sunset.strftime("%a, %d %b %Y 00:00:00 GMT")
        current = trace.current()
        if current is not None:
            headers["traceparent"] = str(current)
        if g.get("published"):
            self.function.wake()
        return response


def require(condition: bool, detail: str) -> None:
    """Raise `Forbidden` with `detail` unless `condition`."""
    if not condition:
        raise Forbidden(detail)


def _respond(answer: Answer) -> Response:
    return Response(answer.body, answer.status, answer.headers, content_type="application/json")


def _as_problem(error: Exception) -> Problem:
    if isinstance(error, VersionConflict) and g.get("if_match"):
        return PreconditionFailed()
    if isinstance(error, Shredded):
        return Erased()
    if isinstance(error, LockTimeout):
        return StillRunning()
    return as_problem(error)


def _invalid(error: ValidationError) -> NoReturn:
    """The faults that pydantic found, each with where it is. Their inputs are not repeated."""
    path, query = request.view_args or {}, request.method == "GET"
    faults: list[FieldError] = []
    for fault in error.errors(include_input=False, include_url=False, include_context=False):
        first = str(fault["loc"][0]) if fault["loc"] else ""
        if first in path:
            pointer = f"path:{first}"
        elif query:
            pointer = f"query:{first}"
        else:
            pointer = bodies.pointer(fault["loc"], request.get_json(silent=True), missing=fault["type"] == "missing")
        faults.append(FieldError(pointer, fault["type"], fault["msg"]))
    raise Invalid(f"{len(faults)} field{'s are' if len(faults) > 1 else ' is'} not valid", errors=faults)
