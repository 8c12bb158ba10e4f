"""`make smoke TARGET=...`: whether a deployed system answers, from outside and as nobody.

Without a token nobody gets further than a problem+json, for most routes 401, and that took the name, the certificate,
Cloud Armor, the load balancer, the function and its settings. TARGET is a URL, or the name of an
environment, whose domain is asked.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import urllib3

from tools.catalog import ROOT, catalog

ATTEMPTS = 5
RETRIES = urllib3.Retry(ATTEMPTS, backoff_factor=0.5, status_forcelist=(502, 503, 504), raise_on_status=False)
"""A new revision may be starting, and a changed load balancer takes a moment."""


@dataclass(frozen=True, slots=True)
class Check:
    """A request as nobody, or with a token that nobody issued."""

    path: str
    token: str | None = None

    def __str__(self) -> str:
        return f"GET {self.path} {'as nobody' if self.token is None else 'with a made-up token'}"


def base_url(target: str) -> str:
    """The URL that `target` says or is called by. Raises SystemExit for an environment that there is not."""
    if "://" in target:
        return target.rstrip("/")
    settings = ROOT / f"terraform/envs/{target}.tfvars"
    domain = re.search(r'^domain\s*=\s*"([^"]+)"', settings.read_text(), re.MULTILINE) if settings.exists() else None
    if domain is None:
        raise SystemExit(f"{target!r} is neither a URL nor an environment with a domain")
    return f"https://{domain[1]}"


def checks() -> Iterator[Check]:
    """Every route as nobody; the first one also with a token that is none."""
    routes = [route for function in catalog().functions.values() for route in function.trigger.routes]
    yield from map(Check, routes)
    yield Check(routes[0], token="made.up.token")  # noqa: S106


def failures(url: str, pool: urllib3.PoolManager | None = None) -> list[str]:
    """What did not answer as it should, one line each."""
    asking = pool or urllib3.PoolManager(retries=RETRIES, timeout=15.0)
    return [f"{check}: {wrong}" for check in checks() if (wrong := _wrong(url, check, asking))]


def _wrong(url: str, check: Check, pool: urllib3.PoolManager) -> str | None:
    headers = {} if check.token is None else {"Authorization": f"Bearer {check.token}"}
    try:
        answer = pool.request("GET", url + check.path, headers=headers, redirect=False)
    except urllib3.exceptions.HTTPError as error:
        return f"no answer ({error})"
    kind = answer.headers.get("Content-Type", "").partition(";")[0]
    # Some routes have only paths below them, or are not for GET: 404 and 405, as the function says them.
    expected = (401, 404, 405) if check.token is None else (401,)
    if answer.status not in expected or kind != "application/problem+json":
        return f"answered {answer.status} with {kind or 'nothing'}"
    if answer.status == 401 and not str(answer.json().get("type")).endswith("/unauthenticated"):
        return f"is refused as {answer.json().get('type')}"
    return None


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or not arguments[0]:
        print("usage: make smoke TARGET=https://... or TARGET=prod", file=sys.stderr)
        return 2
    url = base_url(arguments[0])
    found = failures(url)
    print("\n".join(found) or f"{url} answers", file=sys.stderr if found else sys.stdout)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
