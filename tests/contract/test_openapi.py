"""The OpenAPI document holds to the rules of OpenAPI 3.1 that its readers rely on, and says what the code does."""

import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kapas.http.app import VERSIONS
from tools.catalog import ROOT, catalog
from tools.docs.apps import Operation, Undocumented
from tools.docs.openapi import DuplicateOperation, check_names, document

METHODS = {"get", "post", "put", "patch", "delete"}
FIELDS = {
    "document": {
        "openapi",
        "info",
        "jsonSchemaDialect",
        "servers",
        "security",
        "tags",
        "paths",
        "webhooks",
        "components",
    },
    "components": {"schemas", "parameters", "headers", "responses", "securitySchemes"},
    "operation": {"tags", "summary", "description", "operationId", "parameters", "requestBody", "responses"},
    "parameter": {"name", "in", "required", "description", "schema"},
    "header": {"description", "schema"},
    "response": {"description", "headers", "content"},
    "body": {"required", "content"},
}
"""The fields that the document uses of each object, all of them fixed fields of OpenAPI 3.1.0."""
KEYWORDS = {
    *("type", "format", "properties", "required", "items", "additionalProperties", "enum", "const", "anyOf", "oneOf"),
    *("minimum", "maximum", "exclusiveMinimum", "minLength", "maxLength", "minItems", "maxItems", "pattern", "$ref"),
    *("title", "description", "default", "examples", "readOnly", "discriminator"),
}
"""The keywords that the schemas use: JSON Schema 2020-12, and `discriminator` of OpenAPI."""


@pytest.fixture(scope="module")
def openapi() -> dict[str, Any]:
    return document()


def operations(openapi: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in openapi["paths"].items():
        assert item.keys() <= METHODS, path
        for method, operation in item.items():
            yield method, path, operation


def resolve(openapi: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in value:
        return value
    found: Any = openapi
    for part in value["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return found


def walk(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for child in value.values():
            yield from walk(child)
    elif isinstance(value, list):
        for child in value:
            yield from walk(child)


def schemas(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every schema within a schema, itself first."""
    yield value
    for child in value.get("properties", {}).values():
        yield from schemas(child)
    for keyword in ("items", "additionalProperties"):
        if isinstance(value.get(keyword), dict):
            yield from schemas(value[keyword])
    for keyword in ("anyOf", "oneOf"):
        for child in value.get(keyword, []):
            yield from schemas(child)


def test_every_object_has_only_fields_of_the_specification(openapi: dict[str, Any]) -> None:
    assert openapi["openapi"] == "3.1.0"
    assert openapi.keys() == FIELDS["document"]
    assert openapi["components"].keys() == FIELDS["components"]
    for response in openapi["components"]["responses"].values():
        assert response.keys() <= FIELDS["response"]
    for header in openapi["components"]["headers"].values():
        assert header.keys() <= FIELDS["header"]
    for method, path, operation in operations(openapi):
        assert operation.keys() <= FIELDS["operation"], (method, path)
        assert operation.get("requestBody", {}).keys() <= FIELDS["body"]
        for parameter in operation["parameters"]:
            assert resolve(openapi, parameter).keys() <= FIELDS["parameter"]
        for response in operation["responses"].values():
            assert "description" in resolve(openapi, response)
            assert resolve(openapi, response).keys() <= FIELDS["response"]


def test_every_reference_leads_somewhere(openapi: dict[str, Any]) -> None:
    references = [value for value in walk(openapi) if isinstance(value.get("$ref"), str)]
    assert references
    for reference in references:
        assert isinstance(resolve(openapi, reference), dict), reference


def test_every_component_is_used(openapi: dict[str, Any]) -> None:
    used = {value["$ref"] for value in walk(openapi) if isinstance(value.get("$ref"), str)}
    for kind in ("schemas", "parameters", "headers"):
        for name in openapi["components"][kind]:
            assert f"#/components/{kind}/{name}" in used


def test_every_schema_is_json_schema_2020_12(openapi: dict[str, Any]) -> None:
    for name, component in openapi["components"]["schemas"].items():
        assert re.fullmatch(r"[a-zA-Z0-9._-]+", name)
        for schema in schemas(component):
            assert schema.keys() <= KEYWORDS, name
            assert set(schema.get("required", [])) <= schema.get("properties", {}).keys()


def test_operation_ids_are_unique(openapi: dict[str, Any]) -> None:
    seen = Counter(operation["operationId"] for _, _, operation in operations(openapi))
    assert not [name for name, times in seen.items() if times > 1]


def test_two_views_of_one_name_are_refused() -> None:
    def view() -> None: ...

    twice = [Operation("GET", "/v1/partners", view, {}), Operation("GET", "/v1/trades", view, {})]
    with pytest.raises(DuplicateOperation, match="GET /v1/partners and GET /v1/trades are both named view"):
        check_names(twice)


def test_a_capability_without_a_readme_is_refused(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "functions", tmp_path / "functions")
    (tmp_path / "functions/trade_events/README.md").unlink()
    with pytest.raises(Undocumented, match="functions/trade_events has no README"):
        document(folder=tmp_path / "functions")


def test_the_parameters_of_a_path_are_those_in_it(openapi: dict[str, Any]) -> None:
    for _, path, operation in operations(openapi):
        parameters = [resolve(openapi, parameter) for parameter in operation["parameters"]]
        of_path = [parameter for parameter in parameters if parameter["in"] == "path"]
        assert {parameter["name"] for parameter in of_path} == set(re.findall(r"{(\w+)}", path))
        assert all(parameter["required"] for parameter in of_path)
        places = Counter((parameter["in"], parameter["name"]) for parameter in parameters)
        assert max(places.values()) == 1


def test_every_operation_belongs_to_a_declared_tag_and_needs_a_token(openapi: dict[str, Any]) -> None:
    tags = {tag["name"] for tag in openapi["tags"]}
    assert openapi["security"] == [{"bearer": []}]
    assert "bearer" in openapi["components"]["securitySchemes"]
    for _, _, operation in operations(openapi):
        assert set(operation["tags"]) <= tags


def test_every_operation_says_how_it_fails(openapi: dict[str, Any]) -> None:
    for method, path, operation in operations(openapi):
        assert {"400", "401", "403", "422", "500", "503"} <= operation["responses"].keys()
        assert ("404" in operation["responses"]) == ("{" in path)
        assert ("415" in operation["responses"]) == ("requestBody" in operation)
        failures = [resolve(openapi, r) for status, r in operation["responses"].items() if status >= "400"]
        assert all(failure["content"].keys() == {"application/problem+json"} for failure in failures), (method, path)


def test_every_operation_has_the_headers_of_the_api(openapi: dict[str, Any]) -> None:
    for method, _, operation in operations(openapi):
        sent = {resolve(openapi, parameter)["name"] for parameter in operation["parameters"]}
        assert "X-API-Version" in sent
        assert ("Idempotency-Key" in sent) == (method == "post")
        for status, response in operation["responses"].items():
            assert {"X-API-Version", "traceparent"} <= resolve(openapi, response)["headers"].keys(), status
    assert openapi["info"]["version"] == next(reversed(VERSIONS))


def test_a_view_that_reads_if_match_asks_for_it(openapi: dict[str, Any]) -> None:
    def asks(operation: dict[str, Any]) -> bool:
        return {"$ref": "#/components/parameters/IfMatch"} in operation["parameters"]

    asking = {operation["operationId"] for _, _, operation in operations(openapi) if asks(operation)}
    assert {"activate", "change_endpoint"} <= asking
    assert not asking & {"register", "offer_lot", "read_trade", "delete_endpoint"}


def test_what_is_answered_is_described_as_it_is_written(openapi: dict[str, Any]) -> None:
    made = openapi["components"]["schemas"]
    assert "bids" in made["TradeView"]["required"]
    assert made["DeliveryState"]["properties"]["lifted_kg"] == {"type": "string", "format": "decimal"}


def test_only_what_is_sent_rules_out_unknown_fields(openapi: dict[str, Any]) -> None:
    made = openapi["components"]["schemas"]
    assert made["Offer"]["additionalProperties"] is False
    assert "additionalProperties" not in made["TradeView"]


def test_every_path_is_routed_to_its_function_and_every_route_has_a_path(openapi: dict[str, Any]) -> None:
    routes = {route for function in catalog().functions.values() for route in function.trigger.routes}
    assert {"/".join(path.split("/", 3)[:3]) for path in openapi["paths"]} == routes


def test_components_are_named_as_one_would_name_them(openapi: dict[str, Any]) -> None:
    """Two models of one name get their modules' paths for names, which client generators make classes of."""
    assert not [name for name in openapi["components"]["schemas"] if "__" in name]
