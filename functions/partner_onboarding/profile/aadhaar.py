"""Aadhaar numbers are refused wherever they are sent: they are looked for in memory, and never stored, logged or echoed.

Storing them needs an authorisation that the platform does not have (Aadhaar Act 2016 s.29, Supreme Court 2018 on s.57).
"""

import re
import unicodedata
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, cast

from stdnum import verhoeff

from kapas.errors import FieldError, Invalid

MESSAGE = (
    "This is, or looks like, an Aadhaar number, which Kapas does not accept. Send a PAN, GSTIN or Udyam number. "
    "A bank account's number that only looks like one: send it with a leading zero"
)

# Twelve digits in any script's notation, apart from a longer run and however they are grouped; from every start, for the
# digits before may be of something else. A phone number in E.164 has twelve digits as well.
_CANDIDATE = re.compile(r"(?<!\d)(?<!\+(?=91[6-9]))(?=(\d(?:[ \-./]?\d){11})(?!\d))")

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_SHA256 = re.compile(r"[0-9a-f]{64}")


def contains(text: str) -> bool:
    """Whether an Aadhaar number stands in `text`: 12 digits from 2, no palindrome, with a right Verhoeff digit."""
    return any(_is_one(_digits(match[1])) for match in _CANDIDATE.finditer(_plain(text)))


def in_path(path: str) -> bool:
    """Whether one stands in the path of a URL, apart from ids: of some thousand UUIDs one has twelve such digits in a row."""
    return contains(_UUID.sub("", path))


def without_added_zero(number: str) -> str:
    """A bank account's number without the zero that was put before it only because it looks like one."""
    return number[1:] if len(number) == 13 and number[0] == "0" and contains(number[1:]) else number


def refuse(body: Any) -> None:
    """Raise `Invalid` if a string, a number or a member's name anywhere in `body` holds one.

    The fault points to where it stands, without the number: to the object around it, where it is a member's name.
    The SHA-256 of a file is left out: of 370 hashes one has twelve such digits, and its file has no other.
    """
    faults = [FieldError(pointer, "aadhaar", MESSAGE) for pointer in sorted(set(_pointers(body)))]
    if faults:
        raise Invalid(MESSAGE, errors=faults)


def _pointers(body: Any) -> Iterator[str]:
    # Not recursive: a body may be nested deeper than calls may be.
    pending: list[tuple[str, Any]] = [("", body)]
    while pending:
        pointer, value = pending.pop()
        if isinstance(value, dict):
            for name, member in cast(dict[str, Any], value).items():
                if contains(name):
                    yield pointer
                else:
                    pending.append((f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}", member))
        elif isinstance(value, list):
            pending += [(f"{pointer}/{n}", item) for n, item in enumerate(cast(list[Any], value))]
        elif pointer == "/sha256" and isinstance(value, str) and _SHA256.fullmatch(value):
            continue
        elif isinstance(value, str | int | Decimal) and contains(str(value)):
            yield pointer


def _plain(text: str) -> str:
    """`text` without invisible characters, and with every dash and space in its simplest form."""
    characters = (c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf")
    return "".join({"Pd": "-", "Zs": " "}.get(unicodedata.category(c), c) for c in characters)


def _digits(candidate: str) -> str:
    return "".join(str(unicodedata.digit(c)) for c in candidate if c.isdigit())


def _is_one(digits: str) -> bool:
    return digits[0] in "23456789" and digits != digits[::-1] and verhoeff.is_valid(digits)
