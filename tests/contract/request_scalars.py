"""Every scalar of every request, from the models that the OpenAPI document is made of."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tools.docs.apps import Model, Operation, apis
from tools.docs.json_schema import Schema, Schemas

OPERATIONS: list[Operation] = [operation for api in apis() for operation in api.operations]


@dataclass(frozen=True)
class Scalar:
    """A scalar of a body or a query."""

    operation: str
    model: Model
    pointer: str
    """A JSON pointer, or the name of a parameter."""
    schemas: tuple[Schema, ...]
    """What it may be: one schema, or several of a union; null among them."""
    place: Callable[[Any], Any]
    """A document that has a value here, and nothing else but what says of which kind its objects are."""

    @property
    def types(self) -> set[str]:
        """JSON Schema types; `decimal` for a text that is a decimal number, `date-time` and `date` for texts of those."""
        return {_type(schema) for schema in self.schemas}

    def __str__(self) -> str:
        return f"{self.operation} {self.pointer}"


def of_bodies() -> list[Scalar]:
    return [scalar for operation in OPERATIONS for scalar in _of(operation, "body")]


def of_queries() -> list[Scalar]:
    return [scalar for operation in OPERATIONS for scalar in _of(operation, "query")]


def _of(operation: Operation, part: str) -> Iterator[Scalar]:
    model = operation.model(part)
    if model is not None:
        schema = model.model_json_schema(schema_generator=Schemas)
        for pointer, schemas, place in _walk(schema, schema.get("$defs", {}), "", lambda value: value):
            yield Scalar(operation.name, model, pointer, schemas, place)


Found = tuple[str, tuple[Schema, ...], Callable[[Any], Any]]


def _walk(schema: Schema, defined: dict[str, Schema], at: str, place: Callable[[Any], Any]) -> Iterator[Found]:
    alternatives = list(_alternatives(schema, defined))
    scalars = tuple(one for one in alternatives if one.get("type") not in ("object", "array"))
    if any(one != {"type": "null"} for one in scalars):
        yield at, scalars, place
    for one in alternatives:
        properties: dict[str, Schema] = one.get("properties", {})
        kinds = {name: member["const"] for name, member in properties.items() if "const" in member}
        for name, member in properties.items():

            def within(value: Any, name: str = name, kinds: dict[str, Any] = kinds) -> Any:
                return place({**kinds, name: value})

            yield from _walk(member, defined, f"{at}/{name}", within)
        if isinstance(one.get("items"), dict):
            yield from _walk(one["items"], defined, f"{at}/0", lambda value: place([value]))


def _alternatives(schema: Schema, defined: dict[str, Schema]) -> Iterator[Schema]:
    if "$ref" in schema:
        yield from _alternatives(defined[schema["$ref"].rpartition("/")[2]], defined)
        return
    several = schema.get("anyOf") or schema.get("oneOf")
    if several:
        for one in several:
            yield from _alternatives(one, defined)
    else:
        yield schema


def _type(schema: Schema) -> str:
    if schema.get("format") in ("decimal", "date-time", "date"):
        return schema["format"]
    return schema.get("type") or "string"  # an enumeration or a constant
