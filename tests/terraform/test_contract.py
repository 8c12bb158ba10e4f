"""What is deployed is what the code is: its entry points, what they are told, topics, queues and documents."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from functions.live_feed import projections
from local_cloud.environment import Addresses, environment
from tests.terraform.deployed import Deployed, with_code
from tools.catalog import ROOT
from tools.docs.registry import EVENTS

LOCAL_ONLY = {
    "METADATA_URL": "Google's own, which is the default",
    "SERVICE_JWKS_URL": "Google's own, which is the default",
    "KMS_URL": "Google's own, which is the default",
    "STORAGE_URL": "Google's own, which is the default",
    "IAM_URL": "Google's own, which is the default",
    "KMS_ENDPOINT": "Google's own, which is the default",
    "TASKS_ENDPOINT": "Google's own, which is the default",
    "PROVIDER_TIMEOUT": "the default is for providers that are not on this machine",
    "WEBHOOK_ALLOW_HOSTS": "no partner's endpoint may be on loopback",
}
DEPLOYED_ONLY = {
    "THREADS": "read by functions-framework, which the local cloud does without",
    "DATABASE_IAM": "login to Cloud SQL by a token",
    "DATABASE_CA": "the certificate of Cloud SQL's CA",
}


def test_every_function_of_the_catalog_is_deployed_as_it_says(deployed: Deployed) -> None:
    found = {values["name"]: values for values in deployed.values("cloudfunctions2_function")}
    assert set(found) == set(deployed.catalog.functions)
    for name, function in deployed.catalog.functions.items():
        (build,), service = found[name]["build_config"], deployed.services[name]
        (source,) = build["source"][0]["storage_source"]
        assert build["runtime"] == "python313", name
        assert build["entry_point"] == function.entry_point, name
        assert re.fullmatch(rf"{function.capability}-[0-9a-f]{{16,64}}\.zip", source["object"]), name
        assert service["available_memory"] == f"{function.memory_mb}M", name
        assert service["timeout_seconds"] == function.timeout_seconds, name
        assert service["max_instance_request_concurrency"] == function.concurrency, name
        assert service["environment_variables"]["THREADS"] == str(function.concurrency), name
        assert service["max_instance_count"] == function.max_instances, name
        # More than one request at once needs a whole CPU.
        assert function.concurrency == 1 or float(service["available_cpu"]) >= 1, name


def test_prod_keeps_as_many_instances_warm_as_the_catalog_says(deployed: Deployed) -> None:
    if deployed.name == "prod":
        warm = {name: service["min_instance_count"] for name, service in deployed.services.items()}
        assert warm == {name: function.min_instances for name, function in deployed.catalog.functions.items()}


def test_every_function_is_told_what_the_local_cloud_tells_it(deployed: Deployed) -> None:
    at = Addresses("http://127.0.0.1:8080", "127.0.0.1:8081", 5432)
    for name, function in deployed.catalog.functions.items():
        secrets = {values["key"] for values in deployed.services[name]["secret_environment_variables"]}
        assert secrets == {secret.replace("-", "_").upper() for secret in function.secrets}, name
        here = set(environment(deployed.catalog, name, at)) - set(LOCAL_ONLY) - secrets
        assert set(deployed.environments[name]) - set(DEPLOYED_ONLY) == here, name
        assert all(deployed.environments[name].values()), name


def test_topics_are_those_that_events_are_published_to(deployed: Deployed) -> None:
    kinds = list(EVENTS.values())
    published = {kind.topic for kind in kinds if hasattr(kind, "type")}
    topics = {topic["name"] for topic in deployed.values("pubsub_topic") if not topic["name"].endswith(".dead-letter")}
    assert topics == set(deployed.catalog.topics)
    assert published <= topics


def test_queues_are_those_that_the_code_enqueues_into(deployed: Deployed) -> None:
    named: set[str] = set()
    for path in ROOT.glob("functions/*/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Assign):
                named |= {text for name, text in _assigned(node) if name.startswith("QUEUE")}
    queues = {queue["name"] for queue in deployed.values("cloud_tasks_queue")}
    assert named
    assert named <= queues


def _assigned(node: ast.Assign) -> Iterator[tuple[str, str]]:
    """(name, text) of each text that an assignment gives a name."""
    for target in node.targets:
        names = target.elts if isinstance(target, ast.Tuple) else [target]
        values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
        for name, value in zip(names, values, strict=False):
            if isinstance(name, ast.Name) and isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield name.id, value.value


def _collections() -> set[str]:
    """The collections that the live feed writes."""
    kinds = list(EVENTS.values())
    told: list[Any] = [SimpleNamespace(type=kind.type, subject="id") for kind in kinds if hasattr(kind, "type")]
    paths = [projections.path(event) for event in told]
    return {path.partition("/")[0] for path in paths if path}


def test_indexes_are_of_the_collections_and_fields_that_the_code_writes(deployed: Deployed) -> None:
    written = Path(projections.__file__).read_text()
    indexes = deployed.values("firestore_index")
    assert {index["collection"] for index in indexes} == _collections()
    for index in indexes:
        for field in index["fields"]:
            assert f'"{field["field_path"]}"' in written, index["collection"]


@pytest.mark.parametrize(
    ("collection", "field"), [("partners", "partner_ids"), ("trades", "partner_ids"), ("trades", "open")]
)
def test_clients_can_list_newest_first(deployed: Deployed, collection: str, field: str) -> None:
    (index,) = [
        i for i in deployed.values("firestore_index")
        if i["collection"] == collection and i["fields"][0]["field_path"] == field
    ]  # fmt: skip
    first, second = index["fields"]
    assert first["array_config"] == ("CONTAINS" if field == "partner_ids" else None)
    assert (second["field_path"], second["order"]) == ("updated_at", "DESCENDING")


def test_rules_are_for_the_collections_that_the_code_writes(deployed: Deployed) -> None:
    (file,) = deployed.one("firebaserules_ruleset")["source"][0]["files"]
    assert set(re.findall(r"match /(\w+)/\{", file["content"])) - {"databases"} == _collections()
    assert "allow write" not in file["content"]
    assert "if true" not in file["content"]
    assert deployed.one("firebaserules_release")["name"] == "cloud.firestore"


def test_documents_expire_where_the_code_says_when(deployed: Deployed) -> None:
    expiring = {(f["collection"], f["field"]) for f in deployed.values("firestore_field") if f["ttl_config"]}
    said = {
        (collection, field)
        for field in re.findall(r'"(expires?_at)":', Path(projections.__file__).read_text())
        for collection in _collections()
    }
    assert expiring == said


def test_documents_are_written_by_the_functions_that_may(deployed: Deployed) -> None:
    for name in with_code(deployed):
        function = deployed.catalog.functions[name]
        if function.documents:
            folder = Path(ROOT, "functions", function.capability)
            assert any("function.documents" in path.read_text() for path in folder.glob("*.py")), name
