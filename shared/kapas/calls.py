"""Calls from Google's services and between functions: who may call, and what their answer means.

Pub/Sub, Cloud Tasks and Cloud Scheduler sign each call with a Google OIDC token of a service account.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache

from flask import Request, Response, json

from kapas import log, trace
from kapas.errors import Problem, Unauthenticated
from kapas.identity import InvalidToken, ServiceVerifier, bearer
from kapas.settings import CallerSettings, Settings


@cache
def _verifier(jwks_url: str, audience: str, allowed: str) -> ServiceVerifier:
    return ServiceVerifier(jwks_url, audience, frozenset(email.strip() for email in allowed.split(",")))


def authenticate(request: Request, settings: CallerSettings) -> str:
    """The service account that calls. Raises `Unauthenticated` unless it is one of those allowed."""
    try:
        verifier = _verifier(settings.service_jwks_url, settings.service_audience, settings.allowed_callers)
        return verifier.verify(bearer(request.headers.get("Authorization")))
    except InvalidToken as error:
        raise Unauthenticated(f"The caller's token is not accepted: {error.reason}") from None


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


def problem_response(problem: Problem, instance: str) -> Response:
    """`problem` as `application/problem+json`."""
    body = json.dumps(problem.to_json(instance))
    return Response(body, problem.status, problem.headers, content_type="application/problem+json")
