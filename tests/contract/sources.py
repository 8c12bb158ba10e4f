"""The project's Python sources as syntax trees, and what they import, use and say in strings."""

import ast
from collections.abc import Container, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tools.catalog import ROOT


@dataclass(frozen=True)
class Source:
    """One file; `path` is relative to the checkout."""

    path: Path

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse((ROOT / self.path).read_text())

    def at(self, node: ast.AST) -> str:
        """Where a node is, to click on."""
        return f"{self.path}:{getattr(node, 'lineno', 0)}"


def sources(*folders: str) -> list[Source]:
    """Every Python file below these folders of the checkout."""
    paths = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return [Source(path.relative_to(ROOT)) for path in paths]


def imports(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """What is imported, in full: `kapas.platform.db.Session`; relative imports keep their dots, `.store`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            dot = "" if module.endswith(".") else "."
            yield from ((node, f"{module}{dot}{alias.name}") for alias in node.names)


def graph(*tops: str) -> dict[str, set[str]]:
    """Module -> the project's own modules that it imports, wherever in the file. `kapas` is below shared/."""
    found: dict[str, Source] = {}
    for top in tops:
        for source in sources("shared/kapas" if top == "kapas" else top):
            parts = source.path.with_suffix("").parts
            parts = parts[1:] if parts[0] == "shared" else parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = source
    return {
        module: {own for _, name in imports(source.tree) if (own := _own(module, source.path, name, found)) != module}
        - {""}
        for module, source in found.items()
    }


def _own(module: str, path: Path, name: str, known: Container[str]) -> str:
    """The module of the project that `name`, as imported in `module`, is or is in; empty for others."""
    if name.startswith("."):
        levels = len(name) - len(name.lstrip("."))
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        above = package.split(".")
        name = ".".join([*above[: len(above) - levels + 1], name.lstrip(".")])
    return next((one for one in (name, name.rpartition(".")[0]) if one in known), "")


def uses(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """The imported names that are used, in full: `datetime.datetime.now`, `threading.Lock`."""
    known = _aliases(tree)
    inner = {node.value for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        first, dot, rest = _dotted(node).partition(".")
        if first in known and node not in inner:
            yield node, known[first] + dot + rest


def _aliases(tree: ast.Module) -> dict[str, str]:
    """Name in this module -> what it stands for."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.asname or alias.name.partition(".")[0]
                found[name] = alias.name if alias.asname else name
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _dotted(node: ast.AST) -> str:
    """`a.b.c` of a name or an attribute of one; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""
