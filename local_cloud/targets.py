"""What Cloud Tasks and Cloud Scheduler have in common: HTTP targets, back-off, pages of a list."""

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

from google.api_core import exceptions
from google.protobuf.field_mask_pb2 import FieldMask

Identity = Callable[[str, str], str]
"""Makes an ID token for a service account's email and an audience: `oidc.Issuer.token`."""

Named = TypeVar("Named", bound=Any)

_MAX_URL = 2083
_MAX_HEADERS = 80 * 1024
_MOST_DOUBLINGS = 100  # far beyond any maximum, and still a finite float
_DEADLINES = (timedelta(seconds=15), timedelta(minutes=30))
_REPLACED = ("host", "content-length", "user-agent", "x-google-", "x-appengine-", "x-cloudtasks-", "x-cloudscheduler")


def backoff(failures: int, minimum: timedelta, maximum: timedelta, doublings: int) -> timedelta:
    """How long to wait after the `failures`-th failure in a row.

    It starts at `minimum`, doubles `doublings` times, then grows by 2^doublings x `minimum`, and stays at `maximum`:
    https://cloud.google.com/tasks/docs/reference/rpc/google.cloud.tasks.v2#retryconfig (`max_doublings`).
    """
    doubled = min(failures - 1, doublings, _MOST_DOUBLINGS)
    factor = 2.0**doubled * max(1, failures - doublings)
    return timedelta(seconds=min(minimum.total_seconds() * factor, maximum.total_seconds()))


def check(target: Any, url: str, method: str) -> None:
    """Raise what the service answers to a target (`HttpRequest` or `HttpTarget`) that it does not take."""
    if not url.startswith(("http://", "https://")) or len(url) > _MAX_URL:
        raise exceptions.InvalidArgument(f"The URL must begin with http:// or https:// and hold at most {_MAX_URL}.")
    if target.body and method not in ("POST", "PUT", "PATCH"):
        raise exceptions.InvalidArgument(f"A request body is not allowed with {method}.")
    if sum(len(name) + len(value) for name, value in target.headers.items()) >= _MAX_HEADERS:
        raise exceptions.InvalidArgument("The size of the headers must be less than 80KB.")
    if "oauth_token" in target:
        raise exceptions.MethodNotImplemented("OAuth tokens are not issued locally: use an OIDC token.")


def check_deadline(deadline: timedelta | None, default: timedelta) -> timedelta:
    """The deadline of an attempt: `default` if none is given. Raises InvalidArgument outside 15 s to 30 min."""
    if not deadline:
        return default
    if not _DEADLINES[0] <= deadline <= _DEADLINES[1]:
        raise exceptions.InvalidArgument("The deadline must be in the interval [15s, 30m].")
    return deadline


def headers(target: Any, url: str, identity: Identity, own: Mapping[str, str]) -> dict[str, str]:
    """The headers of a request: the target's, without those that the service replaces, its `own`, and the identity."""
    given = {name: value for name, value in target.headers.items() if not name.lower().startswith(_REPLACED)}
    made = {**given, **own}
    if email := target.oidc_token.service_account_email:
        made = {name: value for name, value in made.items() if name.lower() != "authorization"}
        made["Authorization"] = f"Bearer {identity(email, target.oidc_token.audience or url)}"
    return made


def succeeded(status: int) -> bool:
    return 200 <= status < 300


def rpc_code(status: int) -> int:
    """The `google.rpc.Code` of an HTTP status: OK for 2xx, UNAVAILABLE where there was no answer."""
    if succeeded(status):
        return 0
    code = exceptions.from_http_status(status or 503, "").grpc_status_code
    return code.value[0] if code else 2


def page(resources: Iterable[Named], size: int, token: str, limit: int) -> tuple[list[Named], str]:
    """One page of resources by name, and the token of the next one: the last name of this one, or empty."""
    size = min(size or limit, limit)
    rest = sorted((item for item in resources if item.name > token), key=lambda item: item.name)
    return rest[:size], rest[size - 1].name if len(rest) > size else ""


def merge(paths: Iterable[str], source: Any, destination: Any) -> None:
    """Set the fields of `paths` to what they are in `source` (AIP-134). Raises InvalidArgument for unknown ones."""
    try:
        FieldMask(paths=paths).MergeMessage(source, destination, True, True)
    except ValueError as error:
        raise exceptions.InvalidArgument(f"Invalid update mask: {error}") from error
