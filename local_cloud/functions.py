"""The functions, served as functions-framework serves them, several in one process.

Every source file is named `main` and is imported as such: so each target gets a `main` package of its own, dropped from
`sys.modules` before the next one is loaded. A function reads its settings from its own environment, given per request.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import functions_framework

from kapas.platform import settings
from kapas.values import clock
from tools.catalog import Catalog, Function

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def load(folder: Path, function: Function) -> tuple[ModuleType, Wsgi]:
    """The module and the WSGI application of one function, imported afresh."""
    for name in [name for name in sys.modules if name == "main" or name.startswith("main.")]:
        del sys.modules[name]
    source = folder / function.capability / "main.py"
    app = functions_framework.create_app(target=function.entry_point, source=str(source), signature_type="http")
    module = sys.modules["main"]
    _rename(f"main_{function.entry_point}")
    return module, app


def _rename(package: str) -> None:
    """Know `main` and its modules as `package` from now on, so that what they import later is of their own folder."""
    for name in [name for name in sys.modules if name == "main" or name.startswith("main.")]:
        module = sys.modules[name]
        module.__name__ = package + name.removeprefix("main")
        module.__package__ = module.__name__ if hasattr(module, "__path__") else module.__name__.rpartition(".")[0]
        if module.__spec__ is not None:
            module.__spec__.name = module.__name__
        sys.modules[module.__name__] = module


class Functions:
    """A WSGI application: public routes by the catalog, and every function at `/_functions/<name>`."""

    def __init__(
        self, catalog: Catalog, folder: Path, environments: Mapping[str, Mapping[str, str]], time: clock.Clock
    ) -> None:
        self._clock = time
        self._environments = environments
        self._loaded = {name: load(folder, function) for name, function in catalog.functions.items()}
        self._routes = {route: name for name, f in catalog.functions.items() for route in f.trigger.routes}

    def at(self, path: str) -> tuple[str, str] | None:
        """The function that serves `path`, and the path as it sees it."""
        if path.startswith("/_functions/"):
            name, slash, rest = path.removeprefix("/_functions/").partition("/")
            return (name, slash + rest or "/") if name in self._loaded else None
        # The load balancer's path rules: `/v1/trades` and everything below.
        prefix = "/".join(path.split("/", 3)[:3])
        name = self._routes.get(prefix)
        return None if name is None else (name, path)

    def module(self, name: str) -> Any:
        """The `main` module of one function, for tests that put a fault into it."""
        return self._loaded[name][0]

    def call(
        self, name: str, path: str, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        environ["PATH_INFO"] = path
        with settings.use(self._environments[name]), clock.use(self._clock):
            return self._loaded[name][1](environ, start_response)
