"""`docs/api/README.md`: everything the API has, in tables."""

from collections.abc import Iterable, Sequence
from typing import Any

from kapas.errors import TYPE_PREFIX
from kapas.http.app import VERSIONS
from tools.docs.event_schemas import description
from tools.docs.problems import problems
from tools.docs.registry import EVENTS

_EVENT_SCHEMAS = "../../shared/kapas/schemas/events"
_METHODS = ("get", "post", "put", "patch", "delete")

_HEAD = """\
# The API

Generated from the code by `make docs`; a test keeps it current. [openapi.json](openapi.json) has every parameter, field
and header; `make run` serves it as a page to read.
"""

_EVENTS = """\
CloudEvents 1.0. A type's schema only ever gains: a change that breaks its readers is published as the next version of
the type (`trade.offered.v2`), beside the old one until nobody reads it any more. Readers ignore fields they do not know,
expect an event more than once, and know a missing one by a gap in `sequence`.
"""

_PROBLEMS = f"""\
`application/problem+json` (RFC 9457). `type` is `{TYPE_PREFIX}` and the code below.
"""


def index(openapi: dict[str, Any]) -> str:
    """The index of `openapi`, of the events and of the problem types, in Markdown."""
    endpoints = [
        (f"`{method.upper()} {path}`", item[method]["summary"], item[method]["tags"][0])
        for path, item in openapi["paths"].items()
        for method in _METHODS
        if method in item
    ]
    events = [
        (f"[{type_}](../../shared/kapas/schemas/events/{type_}.json)", EVENTS[type_].topic, description(EVENTS[type_]))
        for type_ in sorted(EVENTS)
    ]
    failures = [(str(problem.status), f"`{problem.code}`", problem.title) for problem in problems()]
    versions = [
        (
            f"`{name}`",
            f"deprecated since {version.deprecated}" if version.deprecated else "served",
            version.sunset or "",
        )
        for name, version in VERSIONS.items()
    ]
    return "\n".join(
        (
            _HEAD,
            "## Endpoints\n",
            _table(("Endpoint", "What it does", "Capability"), endpoints),
            "## Events\n",
            _EVENTS,
            _table(("Type", "Topic", "What happened"), events),
            "## Failures\n",
            _PROBLEMS,
            _table(("Status", "Code", "Title"), failures),
            "## Versions\n",
            "Asked for with `X-API-Version`; without the header, the newest is served.\n",
            _table(("Version", "State", "Ends"), versions),
        )
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)
