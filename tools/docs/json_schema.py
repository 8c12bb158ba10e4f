"""JSON Schema (2020-12, the dialect of OpenAPI 3.1) of the models, as people read it."""

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

Schema = dict[str, Any]

DIALECT = GenerateJsonSchema.schema_dialect


class Schemas(GenerateJsonSchema):
    """pydantic's schemas without what only repeats: titles made of field names, defaults that say null.

    A Decimal is read from a number or a string and always written as a string, so that no reader rounds it. What is read
    has no unknown fields; what is written may gain optional ones within its version, so its schema does not rule them out.
    """

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - pydantic's signature
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        made = super().default_schema(schema)
        if made.get("default", ...) is None:
            del made["default"]
        return made

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        made = super().model_schema(schema)
        if self.mode == "serialization" and made.get("additionalProperties") is False:
            del made["additionalProperties"]
        return made

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:
        text = {"type": "string", "format": "decimal"}
        if self.mode == "serialization":
            return text
        number = next(one for one in super().decimal_schema(schema)["anyOf"] if one["type"] == "number")
        return {"anyOf": [{name: _shortest(value) for name, value in number.items()}, text]}


def _shortest(value: Any) -> Any:
    """Bounds of decimals come as floats: 2.0 is written 2."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
