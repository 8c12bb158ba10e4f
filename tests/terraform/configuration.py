"""What waits for what by the configuration itself, so whatever order an apply happens on: references and `depends_on`.

Read from a plan's JSON, which holds no locals, and without the `depends_on` of module calls: it knows of less waiting than
Terraform does, never of more.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class Module:
    """The root (empty `name`), or a module with the call that makes it."""

    name: str
    body: dict[str, Any]
    caller: "Module | None" = None

    def modules(self) -> Iterator["Module"]:
        """This module and those within it."""
        yield self
        for name in self.body.get("module_calls", {}):
            yield from self.called(name).modules()

    def called(self, name: str) -> "Module":
        return Module(name, self.body["module_calls"][name]["module"], self)

    def argument(self, name: str) -> Any:
        """The expression that the caller gives a variable; None where there is none."""
        return self.caller.body["module_calls"][self.name]["expressions"].get(name) if self.caller else None

    def resources(self) -> list[dict[str, Any]]:
        return self.body.get("resources", [])


Node = tuple[str, str]
"""A module's name and the address of a resource in it."""


def waits_for(module: Module, expression: Any) -> set[Node]:
    """Every resource that must be there before an expression of a module is known."""
    found: set[Node] = set()
    _collect(module, expression, found)
    return found


def _collect(module: Module, expression: Any, found: set[Node]) -> None:
    for reference in _references(expression):
        kind, _, rest = reference.partition(".")
        name = re.split(r"[.\[]", rest)[0]
        if kind == "var" and module.caller:
            _collect(module.caller, module.argument(name), found)
        elif kind == "module":
            called = module.called(name)
            output = reference.rpartition(".")[2]
            outputs = called.body.get("outputs", {})
            _collect(called, outputs.get(output, list(outputs.values())), found)
        else:
            address = re.match(r"(?:data\.)?\w+\.\w+", reference)
            for resource in module.resources():
                node = (module.name, resource["address"])
                if address and address[0] == resource["address"] and node not in found:
                    found.add(node)
                    _collect(module, resource, found)


def _references(expression: Any) -> list[str]:
    """What an expression, or anything that holds expressions, names. Of `a.b.c`, `a.b`, as the plan lists them, `a.b.c`."""
    if isinstance(expression, list):
        return [name for part in expression for name in _references(part)]
    if not isinstance(expression, dict):
        return []
    named = [*expression.get("references", []), *expression.get("depends_on", [])]
    longest = [n for n in named if not any(other.startswith((f"{n}.", f"{n}[")) for other in named)]
    inner = [part for name, part in expression.items() if name not in ("references", "depends_on")]
    return [*longest, *_references(inner)]


def arguments(expressions: Any, names: set[str]) -> Iterator[Any]:
    """The expressions of the arguments of these names, in blocks at any depth."""
    if isinstance(expressions, list):
        for part in expressions:
            yield from arguments(part, names)
    elif isinstance(expressions, dict):
        for name, part in expressions.items():
            if name in names:
                yield part
            else:
                yield from arguments(part, names)
