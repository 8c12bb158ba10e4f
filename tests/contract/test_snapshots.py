"""An answer that is made of several statements reads one snapshot: else it shows a state that never was.

Every GET of every capability is followed from its view through the functions that are given the session. More than one
statement outside `Session.snapshot` or `Session.transaction` is a fault. What `App.publish` and `App.commit` write is no part
of the answer, and neither are wrapped keys: one that is shredded meanwhile makes the answer 410.
"""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

from tools.catalog import ROOT

ROUTES = sorted(ROOT.glob("functions/*/routes.py"))
STATEMENTS = {"run", "one"}
ONE_SNAPSHOT = {"snapshot", "transaction"}
WRITES = {"publish", "commit"}

Function = ast.FunctionDef


@dataclass
class Module:
    """What a module defines, and the modules and functions of the project that it imports."""

    path: Path
    functions: dict[str, Function] = field(default_factory=dict[str, Function])
    modules: dict[str, Path] = field(default_factory=dict[str, Path])
    imported: dict[str, tuple[Path, str]] = field(default_factory=dict[str, tuple[Path, str]])


@cache
def module(path: Path) -> Module:
    return _module(path, ast.parse(path.read_text()))


def _module(path: Path, tree: ast.Module) -> Module:
    found = Module(path)
    found.functions = {node.name: node for node in tree.body if isinstance(node, Function)}
    for node in tree.body:
        if not isinstance(node, ast.ImportFrom):
            continue
        folder = path.parent if node.level else ROOT / "shared"
        within = folder.joinpath(*(node.module or "").split(".")) if node.module else folder
        for alias in node.names:
            name = alias.asname or alias.name
            for file in (within / f"{alias.name}.py", within / alias.name / "__init__.py"):
                if file.is_file():
                    found.modules[name] = file
            if within.with_suffix(".py").is_file():
                found.imported[name] = within.with_suffix(".py"), alias.name
    return found


def reads(of: Module, node: ast.AST, session: str) -> int:
    """Statements that `node` runs on the session that it calls `session`; two, where it is any number."""
    if isinstance(node, ast.With) and any(_is_call(item.context_expr, session, ONE_SNAPSHOT) for item in node.items):
        return 0
    if isinstance(node, ast.If) and isinstance(node.body[-1], ast.Raise):
        return reads(of, node.test, session) + _sum(of, node.orelse, session)  # why there is no answer
    if isinstance(node, ast.If | ast.IfExp):
        branches = [_sum(of, _listed(branch), session) for branch in (node.body, node.orelse)]
        return reads(of, node.test, session) + max(branches)
    found = _sum(of, ast.iter_child_nodes(node), session)
    if isinstance(node, ast.Call):
        found += _called(of, node, session)
    if isinstance(node, _REPEATED):
        once = _first(of, node, session)
        return once + max(found - once, 2 * (found > once))
    return found


_REPEATED = (ast.For, ast.While, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def _first(of: Module, node: ast.AST, session: str) -> int:
    """The statements of a loop that run once: those that make what it goes through."""
    if isinstance(node, ast.For):
        return reads(of, node.iter, session)
    comprehended: list[ast.comprehension] = getattr(node, "generators", [])
    return reads(of, comprehended[0].iter, session) if comprehended else 0


def _sum(of: Module, nodes: Iterable[ast.AST], session: str) -> int:
    return sum(reads(of, node, session) for node in nodes)


def _listed(branch: list[ast.stmt] | ast.expr) -> list[ast.AST]:
    return [*branch] if isinstance(branch, list) else [branch]


def _is_call(node: ast.expr, of: str, names: set[str]) -> bool:
    """Whether it is `of.name(...)` with one of the names."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == of
        and node.func.attr in names
    )


def _called(of: Module, call: ast.Call, session: str) -> int:
    if _is_call(call, session, STATEMENTS):
        return 1
    if _is_call(call, "app", WRITES):
        return 0
    place = next((n for n, given in enumerate(call.args) if isinstance(given, ast.Name) and given.id == session), None)
    target = None if place is None else _function(of, call.func)
    if place is None or target is None:
        return 0
    where, function = target
    return reads(where, ast.Module(function.body, []), function.args.args[place].arg)


def _function(of: Module, name: ast.expr) -> tuple[Module, Function] | None:
    """The function of the project that is called by this name; None for a class, or another's."""
    if isinstance(name, ast.Attribute) and isinstance(name.value, ast.Name) and name.value.id in of.modules:
        where, called = module(of.modules[name.value.id]), name.attr
    elif isinstance(name, ast.Name) and name.id in of.functions:
        where, called = of, name.id
    elif isinstance(name, ast.Name) and name.id in of.imported:
        path, called = of.imported[name.id]
        where = module(path)
    else:
        return None
    return (where, where.functions[called]) if called in where.functions else None


def views(of: Module) -> Iterator[Function]:
    """The functions that answer a GET."""
    for function in of.functions.values():
        if any(isinstance(one, ast.Call) and _is_call(one, "app", {"get"}) for one in function.decorator_list):
            yield function


def faults(of: Module) -> list[str]:
    return [
        f"{of.path.relative_to(ROOT)}:{view.lineno} {view.name}: {count} statements, each with a snapshot of its own"
        for view in views(of)
        if (count := reads(of, ast.Module(view.body, []), "db")) > 1
    ]


@pytest.mark.parametrize("path", ROUTES, ids=lambda path: path.parent.name)
def test_an_answer_reads_one_snapshot(path: Path) -> None:
    found = faults(module(path))
    assert not found, "\n".join([*found, "read them within db.snapshot(), or make them one statement"])


def test_views_and_their_statements_are_found() -> None:
    counted = [reads(module(path), ast.Module(view.body, []), "db") for path in ROUTES for view in views(module(path))]
    assert len(counted) >= 30
    assert counted.count(1) >= 15


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return db.one('SELECT')", 1),
        ("return db.one('SELECT'), db.run('SELECT')", 2),
        ("a = _read(db)\n    return db.run('SELECT')", 2),
        ("return [_read(db) for _ in range(3)]", 2),
        ("return [row[0] for row in _read(db)]", 1),
        ("return [_read(db) for row in _read(db)]", 3),
        ("a = _read(db)\n    if a is None:\n        _read(db)\n        raise KeyError\n    return a", 1),
        ("for _ in range(3):\n        db.run('SELECT')", 2),
        ("return _read(db) if a else db.one('SELECT')", 1),
        ("with db.snapshot():\n        return db.one('SELECT'), _read(db)", 0),
        ("app.publish(db, 1)\n    return _read(db)", 1),
        ("return keyring.decrypt(SqlKeyStore(db))", 0),
    ],
)
def test_statements_are_counted(body: str, expected: int) -> None:
    code = f"def view():\n    {body}\ndef _read(session):\n    return session.one('SELECT')"
    of = _module(ROOT / "functions/none/routes.py", ast.parse(code))
    assert reads(of, ast.Module(of.functions["view"].body, []), "db") == expected
