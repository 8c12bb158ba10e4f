"""JSON bodies of requests: read exactly, looked through for what cannot be stored, and pointed into."""

import json
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn, cast

from flask.json.provider import DefaultJSONProvider

from kapas.errors import BadRequest, FieldError, Invalid

_NAME = re.compile(r"[A-Za-z_][A-Za-z_-]{0,49}")
_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")

MAX_EXPONENT = 30
"""Powers of ten beyond which a number of a body is no quantity, price or measurement of anything."""


class ExactJson(DefaultJSONProvider):
    """JSON whose numbers stay exact: 61234.10 is read as a Decimal. NaN, which JSON does not have, is refused, and so are
    two members of one name."""

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        # `json` itself would read UTF-16 and UTF-32 too, in which whoever looks through the bytes sees nothing.
        text = s.decode("utf-8-sig") if isinstance(s, bytes) else s
        return json.loads(text, parse_float=_number, parse_constant=_no_constant, object_pairs_hook=_members, **kwargs)


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):  # readers differ in which of two they take (RFC 8259 section 4)
        names = [name for name, _ in pairs]
        name = next(name for name in names if names.count(name) > 1)
        # What does not look like the name of a member may be somebody's data.
        named = f"the member {name}" if _NAME.fullmatch(name) else "one member"
        raise BadRequest(f"An object of the body has {named} twice")
    return members


def _number(text: str) -> Decimal:
    # Whoever makes an int of 1e999999999 needs a gigabyte: the exponent is looked at before anybody does.
    try:
        number = Decimal(text)
    except InvalidOperation:  # an exponent of twenty digits
        raise ValueError("a number is out of all proportion") from None
    if number and abs(number.adjusted()) > MAX_EXPONENT:
        raise ValueError("a number is out of all proportion")
    return number


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def texts(value: Any, at: str = "") -> Iterator[tuple[str, str]]:
    """Every string of a body, names of members too, with the JSON pointer to where it is."""
    if isinstance(value, str):
        yield at, value
    elif isinstance(value, dict):
        for name, member in cast(dict[str, Any], value).items():
            yield at, name
            yield from texts(member, f"{at}/{_escaped(name)}")
    elif isinstance(value, list):
        for number, item in enumerate(cast(list[Any], value)):
            yield from texts(item, f"{at}/{number}")


def storable(text: str) -> bool:
    """Whether the text has no U+0000, which PostgreSQL does not store, and no lone surrogate, which UTF-8 does not encode."""
    return _UNSTORABLE.search(text) is None


def refuse_unstorable(texts: Iterable[tuple[str, str]]) -> None:
    """Raise `Invalid` if a text, each given with where it is, is not `storable`."""
    faults: list[FieldError] = []
    for where, text in texts:
        if "\0" in text:
            faults.append(FieldError(where, "nul_character", "Text must not contain the character U+0000"))
        elif not storable(text):
            faults.append(FieldError(where, "lone_surrogate", "Text must not contain half of a surrogate pair"))
    if faults:
        raise Invalid(faults[0].message, errors=faults)


def pointer(location: tuple[int | str, ...], body: Any, *, missing: bool) -> str:
    """A JSON pointer (RFC 6901) into the body as it was sent. pydantic's location also names the member of a union that
    was chosen, which is no place in it."""
    found = ""
    for depth, part in enumerate(location):
        inside: Any = None
        if isinstance(part, int) and isinstance(body, list):
            inside = cast(list[Any], body)[part]
        elif isinstance(body, dict) and part in body:
            inside = cast(dict[Any, Any], body)[part]
        elif not (missing and depth == len(location) - 1):
            continue
        found += f"/{_escaped(str(part))}"
        body = inside
    return found


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
