"""The edge of every function: its target, the calls of Google's services and of other functions, and failures.

Pub/Sub, Cloud Tasks and Cloud Scheduler sign each call with a Google OIDC token of a service account.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from typing import Any, cast

import functions_framework
from flask import Request, Response, json, request
from werkzeug.exceptions import HTTPException

from kapas.errors import (
    BadRequest,
    MethodNotAllowed,
    NotFound,
    Problem,
    TooLarge,
    Unauthenticated,
    UnsupportedMediaType,
)
from kapas.http.identity import InvalidToken, ServiceVerifier, bearer
from kapas.platform import log, trace
from kapas.platform.settings import CallerSettings, Settings

SECURITY_HEADERS = {
    "Strict-Transport-Security": "max-age=63072000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

_HTTP_PROBLEMS: dict[int, type[Problem]] = {
    400: BadRequest,
    404: NotFound,
    405: MethodNotAllowed,
    413: TooLarge,
    415: UnsupportedMediaType,
}

View = Callable[[Request], Response]


def entry_point(function: View) -> View:
    """A target of functions-framework, whose own failures are problem+json too: its 404, 405 and 500 are HTML."""
    register: Callable[..., Any] | None = getattr(functions_framework, "errorhandler", None)
    if register is not None:  # there is an app around this module: the framework made it, and imports the module within
        register(Exception)(_framework_failed)
    return cast(View, functions_framework.http(function))


def _framework_failed(error: Exception) -> Response:
    problem = as_problem(error)
    if problem.status >= 500:
        log.error("function_failed", error)
    return problem_response(problem, request.path)


def as_problem(error: Exception) -> Problem:
    """What to tell of any failure: a `Problem` as it is, one of HTTP by its status, everything else as an internal one."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, HTTPException) and error.code in _HTTP_PROBLEMS:
        return _HTTP_PROBLEMS[error.code]()
    return Problem()


def problem_response(problem: Problem, instance: str) -> Response:
    """`problem` as `application/problem+json`."""
    body = json.dumps(problem.to_json(instance))
    headers = {**SECURITY_HEADERS, **problem.headers}
    return Response(body, problem.status, headers, content_type="application/problem+json")


@cache
def _verifier(jwks_url: str, audience: str, allowed: str) -> ServiceVerifier:
    return ServiceVerifier(jwks_url, audience, frozenset(email.strip() for email in allowed.split(",")))


def authenticate(request: Request, settings: CallerSettings) -> str:
    """The service account that calls. Raises `Unauthenticated` unless it is one of those allowed."""
    try:
        verifier = _verifier(settings.service_jwks_url, settings.service_audience, settings.allowed_callers)
        return verifier.verify(bearer(request.headers.get("Authorization")))
    except InvalidToken as error:
        raise Unauthenticated(f"The caller's token was not accepted: {error.reason}") from None


def follow(traceparent: str | None, settings: Settings) -> AbstractContextManager[None]:
    """Continue the trace of what caused this call."""
    return trace.use(trace.follow(traceparent, settings.project))


def answer(request: Request, settings: CallerSettings, work: Callable[[], Response]) -> Response:
    """Authenticate the caller and do the work; a failure is logged and answered so that the caller tries again."""
    with follow(request.headers.get("traceparent"), settings):
        try:
            authenticate(request, settings)
            return work()
        except Problem as problem:
            log.warning("call_refused", status=problem.status, code=problem.code, detail=problem.detail)
            return problem_response(problem, request.path)
        except Exception as error:
            log.error("call_failed", error)
            return problem_response(Problem(), request.path)
