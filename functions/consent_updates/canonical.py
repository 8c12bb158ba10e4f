"""The bytes of a JSON value that a hash or a signature is over."""

import hashlib
import json
from typing import Any


def canonical(value: Any) -> bytes:
    """The JSON Canonicalization Scheme (RFC 8785) of a value of strings, integers, booleans, null, lists and objects.

    Keys are ASCII here, so that their order by code point is the order by UTF-16 that the scheme asks for. There are no
    floats: their form in the scheme is not Python's.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(value: Any) -> bytes:
    """The SHA-256 of the canonical bytes."""
    return hashlib.sha256(canonical(value)).digest()
