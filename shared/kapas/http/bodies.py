"""JSON bodies of requests: read exactly, looked through for what cannot be stored, and pointed into."""

import json
from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn, cast

from flask.json.provider import DefaultJSONProvider

from kapas.errors import FieldError, Invalid

MAX_EXPONENT = 30
"""Powers of ten beyond which a number of a body is no quantity, price or measurement of anything."""


class ExactJson(DefaultJSONProvider):
    """JSON whose numbers stay exact: 61234.10 is read as a Decimal, and NaN, which JSON does not have, is refused."""

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        # `json` itself would read UTF-16 and UTF-32 too, in which whoever looks through the bytes sees nothing.
        text = s.decode("utf-8-sig") if isinstance(s, bytes) else s
        return json.loads(text, parse_float=_number, parse_constant=_no_constant, **kwargs)


def _number(text: str) -> Decimal:
    # Whoever makes an int of 1e999999999 needs a gigabyte: the exponent is looked at before anybody does.
    try:
        number = Decimal(text)
    except InvalidOperation:  # an exponent of twenty digits
        raise ValueError("a number has too many digits") from None
    if number and abs(number.adjusted()) > MAX_EXPONENT:
        raise ValueError("a number has too many digits")
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


def refuse_nul(texts: Iterable[tuple[str, str]]) -> None:
    """Raise `Invalid` if a text, each given with where it is, has U+0000, which PostgreSQL does not store."""
    message = "Text must not contain the character U+0000"
    faults = [FieldError(where, "nul_character", message) for where, text in texts if "\0" in text]
    if faults:
        raise Invalid(message, errors=faults)


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
