"""A step that is not taken, and what is possible instead."""

from dataclasses import dataclass
from typing import Literal

from .values import Who

Code = Literal["conflict", "version", "forbidden", "invalid"]


@dataclass(frozen=True, slots=True)
class Possible:
    """A step that is open now, and for whom."""

    step: str
    who: Who


class Refused(Exception):
    """Why a step is not taken.

    `against` names the term (`terms.weight.basis`) or the fact (`lift 2 is invoiced`) that stands against it; `pointer`
    the field at fault, if one is; `possible` and `version` are filled in by `decide`.
    """

    def __init__(self, message: str, *, against: str, code: Code = "conflict", pointer: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.against = against
        self.code: Code = code
        self.pointer = pointer
        self.possible: tuple[Possible, ...] = ()
        self.version = 0


def require(condition: object, message: str, *, against: str, pointer: str | None = None) -> None:
    """Raises `Refused` unless `condition` holds."""
    if not condition:
        raise Refused(message, against=against, pointer=pointer)
