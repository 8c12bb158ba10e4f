"""Whether a value fits one of the project's JSON Schemas (2020-12), its formats included."""

from decimal import Decimal, InvalidOperation
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

FORMATS = FormatChecker(["uuid", "date", "date-time"])


@FORMATS.checks("decimal", raises=InvalidOperation)
def _is_decimal(value: object) -> bool:
    return not isinstance(value, str) or Decimal(value).is_finite()


def faults(value: Any, schema: dict[str, Any]) -> list[str]:
    """Where `value` does not fit `schema`, a line each. Raises `jsonschema.SchemaError` for what is no schema."""
    Draft202012Validator.check_schema(schema)
    validator: Any = Draft202012Validator(schema, format_checker=FORMATS)
    return [f"{fault.json_path}: {fault.message}" for fault in validator.iter_errors(value)]
