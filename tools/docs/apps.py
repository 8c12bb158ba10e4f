"""The HTTP side of every capability, read from its `flask-openapi3` app."""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_type_hints

from pydantic import BaseModel

from kapas.http.app import described
from local_cloud.functions import load
from tools.catalog import ROOT, Catalog, Function, catalog

Model = type[BaseModel]

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_CONVERTER = re.compile(r"<(?:[^:<>]+:)?([^<>]+)>")


class DuplicateOperation(Exception):
    """Two views have the same name, which is the operation id that clients are generated from."""


class Undocumented(Exception):
    """A capability lacks what the documents say of it."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    view: Callable[..., Any]
    answers: dict[str, Model | None]
    """Status of a success -> what is answered, None for no body."""

    @property
    def name(self) -> str:
        return self.view.__name__

    @property
    def needs_if_match(self) -> bool:
        """Whether the view reads `app.if_match()`, which refuses a request without the header."""
        return "if_match" in self.view.__code__.co_names

    def model(self, part: str) -> Model | None:
        """What the view takes as its `path`, `query` or `body`."""
        return get_type_hints(self.view).get(part)


@dataclass(frozen=True, slots=True)
class Api:
    """The operations of one capability, by path."""

    capability: str
    title: str
    description: str
    """What it does, from its README."""
    operations: tuple[Operation, ...]


def apis(of: Catalog | None = None, folder: Path = ROOT / "functions") -> list[Api]:
    """The HTTP side of every capability that has one, in the order of the catalog.

    Raises:
        Undocumented: a capability has no README, whose first paragraph introduces it.
    """
    functions = [f for f in (of or catalog()).functions.values() if f.trigger.kind == "http"]
    # Two functions of one capability share its app.
    return [_api(folder, function) for function in {f.capability: f for f in functions}.values()]


def _api(folder: Path, function: Function) -> Api:
    with described():
        module, _ = load(folder, function)
    routes: Any = module.routes
    app = routes.app
    operations = [
        _operation(app, rule, method, vars(routes))
        for rule in app.url_map.iter_rules()
        for method in _METHODS
        if method in rule.methods and rule.endpoint != "static"
    ]
    operations.sort(key=lambda operation: (operation.path, _METHODS.index(operation.method)))
    return Api(function.capability, app.info.title, _introduction(folder / function.capability), tuple(operations))


def _introduction(folder: Path) -> str:
    """The first paragraph of a capability's README, in one line."""
    path = folder / "README.md"
    if not path.exists():
        raise Undocumented(f"functions/{folder.name} has no README.md: its first paragraph introduces the capability")
    _, introduction, *_ = path.read_text().split("\n\n")
    return " ".join(introduction.split())


def _operation(app: Any, rule: Any, method: str, names: dict[str, Any]) -> Operation:
    path = _CONVERTER.sub(r"{\1}", rule.rule)
    documented = app.api_doc["paths"][path][method.lower()]["responses"]
    answers = {status: _answer(response, names) for status, response in documented.items() if status.startswith("2")}
    return Operation(method, path, inspect.unwrap(app.view_functions[rule.endpoint]), answers)


def _answer(response: dict[str, Any], names: dict[str, Any]) -> Model | None:
    # The app keeps a response's schema as it would be read, not as it is written (a computed field is missing from it);
    # so the model itself is found by its name, in the module that named it.
    reference = response.get("content", {}).get("application/json", {}).get("schema", {}).get("$ref")
    return None if reference is None else cast(Model, names[reference.rpartition("/")[2]])
