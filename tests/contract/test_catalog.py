"""The catalog says what there is, once, and what it says fits together and fits the code."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

from tests.contract.sources import Source
from tools.catalog import ROOT, Function, catalog

FUNCTIONS = ROOT / "functions"
CATALOG = catalog()
FILES = ("main.py", "service.py", "README.md", "requirements.txt")

each_function = pytest.mark.parametrize("name", CATALOG.functions)


def entry_points(function: Function) -> set[str]:
    """What a capability's main.py offers functions-framework: it imports its entry points and nothing else."""
    tree = Source(Path("functions", function.capability, "main.py")).tree
    return {alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}


def repeated(values: list[str]) -> list[str]:
    return [value for value, times in Counter(values).items() if times > 1]


@each_function
def test_every_entry_point_exists(name: str) -> None:
    function = CATALOG.functions[name]
    assert function.entry_point in entry_points(function)


def test_every_entry_point_is_deployed_and_unique() -> None:
    named = [(function.capability, function.entry_point) for function in CATALOG.functions.values()]
    there = {(f.capability, entry_point) for f in CATALOG.functions.values() for entry_point in entry_points(f)}
    assert set(named) == there
    # functions-framework registers targets by this name, and the local cloud loads all of them into one process.
    assert not repeated([entry_point for _, entry_point in named])


def test_every_route_is_unique() -> None:
    assert not repeated([route for function in CATALOG.functions.values() for route in function.trigger.routes])


def test_every_folder_is_a_capability_and_every_capability_a_folder() -> None:
    folders = {path.name for path in FUNCTIONS.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == {function.capability for function in CATALOG.functions.values()}


@pytest.mark.parametrize("capability", sorted({function.capability for function in CATALOG.functions.values()}))
def test_every_capability_has_the_same_files(capability: str) -> None:
    missing = [name for name in FILES if not (FUNCTIONS / capability / name).exists()]
    assert not missing, f"functions/{capability} lacks {', '.join(missing)}"


@each_function
def test_topics_and_queues_that_are_named_exist(name: str) -> None:
    function = CATALOG.functions[name]
    assert {*function.trigger.topics, *function.publishes} <= set(CATALOG.topics)
    assert {*function.enqueues, *filter(None, [function.trigger.queue])} <= CATALOG.queues.keys()
    for queue, handler in function.enqueues.items():
        assert CATALOG.functions[handler].trigger.queue == queue, f"{handler} does not take the tasks of {queue}"


def test_every_topic_and_queue_is_used() -> None:
    functions = CATALOG.functions.values()
    assert {topic for function in functions for topic in function.publishes} == set(CATALOG.topics)
    assert {topic for function in functions for topic in function.trigger.topics} == set(CATALOG.topics)
    assert {function.trigger.queue for function in functions} - {None} == CATALOG.queues.keys()


def test_one_function_is_the_relay() -> None:
    assert len([function for function in CATALOG.functions.values() if function.woken]) == 1


@each_function
def test_an_instance_holds_no_more_connections_than_it_serves_requests(name: str) -> None:
    function = CATALOG.functions[name]
    assert function.min_instances <= function.max_instances
    if function.database:
        # THREADS is the concurrency: with a larger pool, connections would never be used.
        assert function.database.pool <= function.concurrency


def test_all_instances_together_fit_the_database() -> None:
    pools = {name: f.database.pool * f.max_instances for name, f in CATALOG.functions.items() if f.database}
    most, reserved = CATALOG.database.max_connections, CATALOG.database.reserved
    assert sum(pools.values()) + reserved <= most, f"{pools} and {reserved} reserved are more than {most}"


def test_all_connections_fit_the_memory_of_the_database() -> None:
    """A backend that has prepared every statement of the system holds 5 MiB; PostgreSQL's own buffers take a third."""
    tfvars = (ROOT / "terraform/envs/prod.tfvars").read_text()
    (memory_mib,) = re.findall(r'database_tier\s*=\s*"db-custom-\d+-(\d+)"', tfvars)
    assert CATALOG.database.max_connections * 5 <= int(memory_mib) / 3


def test_every_database_role_is_made_by_a_migration_and_granted_something() -> None:
    migrations = sorted((ROOT / "migrations").glob("*.sql"))
    sql = "\n".join(re.sub(r"--[^\n]*", "", path.read_text()) for path in migrations)
    made = {name for roles in re.findall(r"ARRAY\[([^\]]*)\]", sql) for name in re.findall(r"'(\w+)'", roles)}
    granted = {name for roles in re.findall(r"\bTO ([\w, ]+);", sql) for name in roles.replace(" ", "").split(",")}
    roles = {function.database.role for function in CATALOG.functions.values() if function.database}
    assert roles <= made, "no migration makes the role"
    assert roles <= granted, "no migration grants the role anything"


@each_function
def test_a_capability_logs_in_with_a_role_of_its_own(name: str) -> None:
    function = CATALOG.functions[name]
    assert function.database is None or function.database.role == function.capability
