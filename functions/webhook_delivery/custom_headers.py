"""Custom headers of a partner, for example for a gateway in front of its receiver."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

MOST = 10
MAX_NAME, MAX_VALUE = 64, 1024

_OURS = frozenset(
    {
        "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "date", "expect", "host",
        "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "user-agent",
    }
)  # fmt: skip
"""Set by this client, or part of HTTP/1.1 framing (RFC 9112): with those, one request could be read as two."""
_OUR_PREFIXES = ("webhook-", "proxy-", "sec-")
_NAME = re.compile(r"[A-Za-z0-9-]+")
_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")
"""Visible ASCII, with spaces inside: nothing that could start another line."""


def _checked(headers: dict[str, str]) -> dict[str, str]:
    lower = [name.lower() for name in headers]
    for name in lower:
        if name in _OURS or name.startswith(_OUR_PREFIXES):
            raise ValueError(f"The platform sets the header {name} itself; use another name, for example X-Api-Key")
    if len(set(lower)) < len(lower):
        raise ValueError("Header names must differ by more than upper and lower case")
    for name, value in headers.items():
        if not _NAME.fullmatch(name) or len(name) > MAX_NAME:
            raise ValueError(
                f"A header's name must be letters, digits and hyphens, {MAX_NAME} at most, for example X-Api-Key"
            )
        if len(value) > MAX_VALUE:
            raise ValueError(f"The value of {name} must have at most {MAX_VALUE} characters")
        if not _VALUE.fullmatch(value):
            raise ValueError(f"The value of {name} must be visible ASCII characters, with spaces only between them")
    return headers


CustomHeaders = Annotated[
    dict[str, str],
    Field(
        max_length=MOST,
        description="Custom headers of every delivery, for example X-Api-Key. Values are stored encrypted and never shown",
        json_schema_extra={
            "propertyNames": {"pattern": f"^{_NAME.pattern}$", "maxLength": MAX_NAME},
            "additionalProperties": {"type": "string", "pattern": f"^{_VALUE.pattern}$", "maxLength": MAX_VALUE},
        },
    ),
    AfterValidator(_checked),
]
