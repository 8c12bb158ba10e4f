"""SQL decides nothing by itself: time and identifiers are its parameters, and what it lists has an order."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.sources import Source, sources
from tools.catalog import ROOT

SOURCES = sources("functions", "shared/kapas")
STORES = [source for source in SOURCES if source.path.name == "store.py" or source.path.name.endswith("_store.py")]
IN_DOMAIN = [source for source in sources("functions") if source not in STORES]
MIGRATIONS = sorted((ROOT / "migrations").glob("*.sql"))

UNDECIDED = re.compile(
    r"\b(?:now|clock_timestamp|statement_timestamp|transaction_timestamp|timeofday|gen_random_uuid|uuidv[47]|random)\s*\("
    r"|\b(?:CURRENT_TIMESTAMP|CURRENT_DATE|CURRENT_TIME|LOCALTIMESTAMP|LOCALTIME)\b",
    re.IGNORECASE,
)
STATEMENT = re.compile(r"\s*(?:SELECT|INSERT|UPDATE|DELETE|WITH|MERGE|CREATE|ALTER)\b")
READS = re.compile(r"\s*(?:SELECT|WITH)\b.*\bFROM\b", re.DOTALL)
CHANGES = re.compile(r"\b(?:INSERT INTO|UPDATE \w+|DELETE FROM)\b")
# One row at most: an aggregate of everything, or the answer to whether there is one.
ONE_ROW = re.compile(
    r"\s*SELECT\s+(?:count|min|max|sum|bool_or|bool_and)\s*\((?!.*\bGROUP BY\b)", re.IGNORECASE | re.DOTALL
)
ORDERED = re.compile(r"\bORDER BY\b")
LIMITED = re.compile(r"\bLIMIT\b")


def text(node: ast.AST, constants: dict[str, str]) -> str | None:
    """The value of a string expression, with the module's `constants` put in and `?` for what varies; else None."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(text(part, constants) or "?" for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return text(node.value, constants)
    return constants.get(node.id) if isinstance(node, ast.Name) else None


def statements(tree: ast.Module) -> Iterator[tuple[ast.AST, str, bool]]:
    """Each SQL statement of a module, and whether it is only run for one row (`db.one`)."""
    constants: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            constants[node.targets[0].id] = text(node.value, constants) or "?"
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
    single = [node.args[0] for node in calls if isinstance(node.func, ast.Attribute) and node.func.attr == "one"]
    read_once = {node.id for node in single if isinstance(node, ast.Name)}
    run = {node.args[0].id for node in calls if isinstance(node.args[0], ast.Name) and node.args[0] not in single}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name not in read_once | run:  # a part of other statements
                continue
            value, one = node.value, name not in run
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant | ast.JoinedStr):
            value, one = node.args[0], node.args[0] in single
        else:
            continue
        sql = text(value, constants)
        if sql is not None and STATEMENT.match(sql):
            yield node, sql, one


def runs_sql(tree: ast.Module) -> Iterator[ast.AST]:
    """Where a module runs a statement or makes a `Change` of one."""
    yield from (node for node, _, _ in statements(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called.rpartition(".")[2] == "Change" or called in ("db.run", "db.one", "db.command"):
                yield node


def strings(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Every string of a module that is no documentation."""
    documentation = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in documentation:
            yield node, node.value


def unordered(sql: str) -> bool:
    """Whether a statement that may answer or pick several rows leaves their order open."""
    if ORDERED.search(sql) or ONE_ROW.match(sql):
        return False
    return bool(LIMITED.search(sql)) or (READS.match(sql) is not None and not CHANGES.search(sql))


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: str(source.path))
def test_sql_takes_time_and_identifiers_as_parameters(source: Source) -> None:
    for node, value in strings(source.tree):
        found = UNDECIDED.search(value)
        assert found is None, f"{source.at(node)}: {found and found[0]} decides in SQL: give it as a parameter"


@pytest.mark.parametrize("path", MIGRATIONS, ids=lambda path: path.name)
def test_migrations_default_to_no_time_and_no_identifier(path: Path) -> None:
    code = re.sub(r"--[^\n]*", "", path.read_text())
    found = UNDECIDED.search(code)
    assert found is None, f"{path.name}: {found and found[0]}: rows are given their times and identifiers"


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: str(source.path))
def test_what_is_listed_has_an_order(source: Source) -> None:
    for node, sql, one in statements(source.tree):
        first = " ".join(sql.split())[:80]
        assert one or not unordered(sql), f"{source.at(node)}: several rows without ORDER BY: {first}"


@pytest.mark.parametrize("source", IN_DOMAIN, ids=lambda source: str(source.path))
def test_sql_stands_in_stores(source: Source) -> None:
    found = [source.at(node) for node in runs_sql(source.tree)]
    assert not found, f"{', '.join(found)}: move the statement into a module that is named store.py or *_store.py"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ('db.one("SELECT FROM trades")', True),
        ('session.run(f"DELETE FROM {table}")', True),
        ("db.run(statement(table))", True),
        ("Change(sql, {}, (event,))", True),
        ('outbox.Change("SELECT 1", {})', True),
        ('_ALL = "SELECT id FROM trades"\nfetch(_ALL)', True),
        ("store.find(db, trade_id)", False),
        ("work.run(means, task)", False),
        ("outbox.commit(db, store.move(trade))", False),
        ("change: Change = store.move(trade)", False),
    ],
)
def test_a_statement_outside_of_a_store_is_found(code: str, expected: bool) -> None:
    assert any(runs_sql(ast.parse(code))) is expected


def test_every_store_has_statements_that_are_looked_at() -> None:
    assert STORES
    for source in STORES:
        assert list(statements(source.tree)), source.path


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ('_ALL = "SELECT id FROM trades"\ndb.run(_ALL)', True),
        ('_ALL = "SELECT id FROM trades"\ndb.one(_ALL)', False),
        ('_ALL = "SELECT id FROM trades"\ndb.one(_ALL)\ndb.run(_ALL)', True),
        ('_F = "id"\ndb.run(f"SELECT {_F} FROM trades WHERE id = :id")', True),
        ('_F = "id"\ndb.run(f"SELECT {_F} FROM trades ORDER BY {_F}")', False),
        ('db.run("SELECT count(*) FROM trades")', False),
        ('db.run("SELECT count(*) FROM trades GROUP BY seller_id")', True),
        ('db.run("UPDATE t SET a = 1 WHERE id IN (SELECT id FROM t LIMIT 5)")', True),
        ('db.run("WITH c AS (UPDATE t SET a = 1 RETURNING id) SELECT count(*) FROM c")', False),
    ],
)
def test_an_open_order_is_found(code: str, expected: bool) -> None:
    assert any(unordered(sql) and not one for _, sql, one in statements(ast.parse(code))) is expected


@pytest.mark.parametrize(
    "sql", ["SELECT now()", "VALUES (current_timestamp)", "gen_random_uuid()", "ORDER BY random ()", "uuidv7()"]
)
def test_a_function_that_decides_is_found(sql: str) -> None:
    assert UNDECIDED.search(sql)
