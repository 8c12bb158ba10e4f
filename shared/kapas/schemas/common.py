"""Shapes that several resources share."""

import base64
import binascii
import functools
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, Self, TypeVar, cast
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from kapas.errors import FieldError, Invalid
from kapas.values.money import MAX_PAISE
from kapas.values.units import Price, Quantity, Unit, quantity

T = TypeVar("T")
MAX_PAGE = 100
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256, in lower-case hexadecimal digits")]
StateCode = Annotated[str, Field(pattern=r"^[0-9]{2}$", description="GST state code: 24 is Gujarat")]


class Resource(BaseModel):
    """An object in an answer of the API."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Request(BaseModel):
    """An object in a request. Unknown fields are refused, because a misspelt one would be lost silently."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True, defer_build=True)


class OptionalRequest(Request):
    """A request body that may be omitted; a missing body counts as an empty one."""

    @model_validator(mode="before")
    @classmethod
    def _nothing(cls, body: Any) -> Any:
        return {} if body is None else body


class Query(Request):
    """The query parameters of a request."""

    @classmethod
    def model_json_schema(cls, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """flask-openapi3 asks for it, without arguments, at every request: made once, for it takes a millisecond."""
        return super().model_json_schema(*args, **kwargs) if args or kwargs else _schema(cls)


@functools.cache
def _schema(query: type[Query]) -> dict[str, Any]:
    return super(Query, query).model_json_schema()


class PageQuery(Query):
    """The part of a list to return."""

    limit: int = Field(20, ge=1, le=MAX_PAGE, description="Maximum number of items")
    after: str | None = Field(None, description="`next` of the previous page")

    def after_id(self) -> UUID | None:
        """The id that `after` names. Raises `Invalid` if it is no cursor of this API."""
        return None if self.after is None else _id_of(self.after)


class Page(Resource, Generic[T]):
    """A part of a list, newest first."""

    data: list[T]
    has_more: bool
    next: str | None = Field(None, description="Send as `after` to get the next page")

    @classmethod
    def of(cls, found: Sequence[T], limit: int) -> Self:
        """The first `limit` of what was found: items with an `id`, of which one more was asked for to know of the rest."""
        data, more = list(found[:limit]), len(found) > limit
        return cls(data=data, has_more=more, next=cursor(cast(Any, data[-1]).id) if more else None)


class Upload(Resource):
    """How to upload a file: `method` to `url` with exactly these headers, before `expires_at`."""

    method: Literal["PUT"]
    url: str
    headers: dict[str, str]
    expires_at: AwareDatetime


class Amount(BaseModel):
    """An amount of money."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    paise: int = Field(ge=-MAX_PAISE, le=MAX_PAISE, description="Indian rupees in paise: INR 61,500 is 6150000")
    currency: Literal["INR"] = "INR"


class UnitPrice(BaseModel):
    """A price per unit of weight."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    paise: int = Field(gt=0, le=MAX_PAISE, description="Paise per unit: INR 61,500 per candy is 6150000")
    currency: Literal["INR"] = "INR"
    unit: Literal["candy_trade", "candy_mcx", "quintal", "kg"] = Field(
        description="candy_trade is 355.62 kg, candy_mcx 355.56 kg, quintal 100 kg"
    )

    def price(self) -> Price:
        return Price(self.paise, Unit(self.unit))


class Weight(BaseModel):
    """A quantity of cotton, in a unit with a defined weight."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: Decimal
    unit: str = Field(description="kg, quintal, bale, candy_trade or candy_mcx")
    kg_per_unit: Decimal | None = Field(None, description="For bales only: the weight of one, nominally 170 kg")

    @model_validator(mode="after")
    def _known_and_exact(self) -> Self:
        self.quantity()
        return self

    def quantity(self) -> Quantity:
        """Raises ValueError for an unknown or ambiguous unit (a bare maund), with what to send instead."""
        return quantity(self.value, self.unit, self.kg_per_unit)


def cursor(last: UUID) -> str:
    """An opaque cursor behind the item with this (time-ordered) id."""
    return base64.urlsafe_b64encode(last.bytes).decode().rstrip("=")


def _id_of(cursor: str) -> UUID:
    try:
        return UUID(bytes=base64.urlsafe_b64decode(cursor + "=="))
    except (ValueError, binascii.Error):
        message = "Send `next` of the previous page unchanged"
        raise Invalid(message, errors=[FieldError("query:after", "cursor", message)]) from None
