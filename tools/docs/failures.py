"""Which problems an operation can end in: those that its view, and whatever that calls by name, raises and does not catch.

Names are resolved as Python does: modules and functions among the globals, methods of global objects and of parameters by
their annotations. What is called in another way is not followed: a function in a table, a method of a local variable.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from types import FunctionType, MethodType, ModuleType
from typing import Any, cast, get_type_hints

from kapas.errors import Erased, Problem
from kapas.privacy.keys import Shredded

_OURS = ("kapas.", "functions.", "main")
"""How the names of modules begin that are followed."""

_ANSWERED_AS: dict[type[BaseException], type[Problem]] = {Shredded: Erased}
"""Failures that are no problems, and what `kapas.http.app` answers."""

Failures = frozenset[type[BaseException]]
NONE: Failures = frozenset()


def failures(view: Callable[..., Any]) -> set[type[Problem]]:
    """The problems that `view` may end in."""
    found = _of_function(inspect.unwrap(view), frozenset())
    problems = {_ANSWERED_AS.get(one, one) for one in found}
    return {one for one in problems if issubclass(one, Problem)}


def _of_function(function: Any, within: frozenset[Any]) -> Failures:
    ours = str(getattr(function, "__module__", "")).startswith(_OURS) and function.__name__ != "<lambda>"
    if function in within or not ours:
        return NONE
    return _Body(function, within | {function}).failures() if not within else _remembered(function)


@cache
def _remembered(function: Any) -> Failures:
    return _Body(function, frozenset({function})).failures()


class _Body:
    """The source of one function, and what its names stand for."""

    def __init__(self, function: Any, within: frozenset[Any]) -> None:
        self._within = within
        self._source = _parsed(function)
        self._globals: Mapping[str, Any] = function.__globals__
        try:
            self._hints = get_type_hints(function)
        except (NameError, TypeError):  # a name that only a type checker imports
            self._hints = {}
        owner, _, _ = function.__qualname__.rpartition(".")
        if owner in self._globals:
            self._hints["self"] = self._globals[owner]

    def failures(self) -> Failures:
        return self._of_all(self._source.body, NONE)

    def _of_all(self, nodes: Iterable[ast.AST], caught: Failures) -> Failures:
        return NONE.union(*(self._of(node, caught) for node in nodes))

    def _of(self, node: ast.AST, caught: Failures) -> Failures:
        """`caught` is what a bare `raise` raises again."""
        if isinstance(node, ast.Try):
            return self._of_try(node, caught)
        if isinstance(node, ast.Raise) and node.exc is None:
            return caught
        if isinstance(node, ast.Name | ast.Attribute):
            return self._of_object(self._resolve(node)) | self._of_children(node, caught)
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
            value = node.value if isinstance(node, ast.AnnAssign) else None
            return NONE if value is None else self._of(value, caught)
        return self._of_children(node, caught)

    def _of_children(self, node: ast.AST, caught: Failures) -> Failures:
        return self._of_all(ast.iter_child_nodes(node), caught)

    def _of_try(self, node: ast.Try, caught: Failures) -> Failures:
        tried = self._of_all(node.body, caught)
        found = self._of_all([*node.orelse, *node.finalbody], caught)
        for handler in node.handlers:  # the first that fits takes it
            kinds = tuple(self._kinds(handler.type))
            taken = frozenset(one for one in tried if issubclass(one, kinds))
            tried -= taken
            found |= self._of_all(handler.body, taken)
        return found | tried

    def _kinds(self, node: ast.expr | None) -> Iterator[type[BaseException]]:
        if node is None:
            yield BaseException
        for one in node.elts if isinstance(node, ast.Tuple) else [node]:
            resolved = self._resolve(one) if one is not None else None
            if isinstance(resolved, type) and issubclass(resolved, BaseException):
                yield resolved

    def _of_object(self, found: Any) -> Failures:
        if isinstance(found, type):
            return frozenset({found}) if issubclass(found, (Problem, *_ANSWERED_AS)) and found is not Problem else NONE
        if isinstance(found, property):
            found = found.fget
        if isinstance(found, MethodType):
            found = found.__func__
        found = inspect.unwrap(found) if callable(found) else found
        return _of_function(found, self._within) if isinstance(found, FunctionType) else NONE

    def _resolve(self, node: ast.AST) -> Any:
        if isinstance(node, ast.Name):
            return self._globals.get(node.id) if node.id not in self._hints else None
        if not isinstance(node, ast.Attribute):
            return None
        if isinstance(node.value, ast.Name) and node.value.id in self._hints:
            owner = self._hints[node.value.id]
            return inspect.getattr_static(owner, node.attr, None) if isinstance(owner, type) else None
        owner = self._resolve(node.value)
        if isinstance(owner, ModuleType):
            return getattr(owner, node.attr, None)
        kind = cast(type[Any], type(owner))
        # A property of an object is not asked: it might connect to something.
        return inspect.getattr_static(kind, node.attr, None) if kind.__module__.startswith(_OURS) else None


@cache
def _parsed(function: Any) -> ast.FunctionDef:
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    return cast(ast.FunctionDef, tree.body[0])
