"""Firestore's rules, decided: the part of their language that ours use. What is not of it is refused, not guessed at.

https://firebase.google.com/docs/rules/rules-language has the language; Google's own evaluator decides the same documents in
`local_cloud/conformance/test_firestore_rules.py`.
"""

import re
from collections.abc import Callable
from typing import Any

Names = dict[str, Any]
Expression = Callable[[Names], Any]

_TOKEN = re.compile(r"\s+|//[^\n]*|('[^']*'|[A-Za-z_]\w*(?:\.\w+)*|&&|\|\||==|!=|[(){};:,!=]|/[\w/{}=*]+)")
_LITERALS = {"true": True, "false": False, "null": None}
_TYPES = {"string": str, "bool": bool, "list": list}


class Undecided(Exception):
    """An error of the rules' language, such as a field that is not there: a no, unless the other side of `||` says yes."""


class Rules:
    """`allows` says whether a client may do something to a document."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._functions: dict[str, Expression] = {}
        self._allowed: list[tuple[str, str, Expression]] = []
        for expected in ("rules_version", "=", "'2'", ";", "service", "cloud.firestore", "{"):
            self._take(expected)
        self._statements("")

    def allows(self, method: str, path: str, request: Names, resource: Names) -> bool:
        """`method` as rules name it: get, list, create, update, delete. A path as in `trades/1`."""
        names = {"request": request, "resource": resource}
        for matched, allowed, condition in self._allowed:
            if allowed == method and re.fullmatch(matched, f"/databases/(default)/documents/{path}"):
                try:
                    if condition(names) is True:
                        return True
                except Undecided:
                    continue
        return False

    def _statements(self, path: str) -> None:
        while (word := self._take()) != "}":
            if word == "match":
                segment = self._take()
                self._take("{")
                # `{name}` is one segment; `{name=**}`, which is any number, is not of the part we know.
                self._statements(path + re.sub(r"\{\w+\}", "[^/]+", segment))
            elif word == "function":
                name = self._take()
                for expected in ("(", ")", "{", "return"):
                    self._take(expected)
                self._functions[name] = self._either()
                self._take(";"), self._take("}")
            elif word == "allow":
                methods = [self._take()]
                while (mark := self._take()) == ",":
                    methods.append(self._take())
                if mark != ":" or self._take() != "if":
                    raise ValueError("an allow without a condition")
                condition = self._either()
                self._take(";")
                self._allowed += [(path, method, condition) for name in methods for method in _methods(name)]
            else:
                raise ValueError(f"not known: {word}")

    def _either(self) -> Expression:
        left = self._both()
        return _joined(left, self._either(), deciding=True) if self._next("||") else left

    def _both(self) -> Expression:
        left = self._comparison()
        return _joined(left, self._both(), deciding=False) if self._next("&&") else left

    def _comparison(self) -> Expression:
        left = self._operand()
        for sign in ("==", "!=", "in", "is"):
            if self._next(sign):
                if sign == "is":
                    kind = _TYPES[self._take()]
                    return lambda names: isinstance(left(names), kind)
                right = self._operand()
                if sign == "in":
                    return lambda names: _within(left(names), right(names))
                return lambda names: (left(names) == right(names)) is (sign == "==")
        return left

    def _operand(self) -> Expression:
        word = self._take()
        if word == "(":
            inner = self._either()
            self._take(")")
            return inner
        if word in _LITERALS or word.startswith("'"):
            return lambda _: _LITERALS.get(word, word.strip("'"))
        if not re.match(r"[A-Za-z_]", word):
            raise ValueError(f"not known: {word}")
        if self._next("("):
            self._take(")")
            return lambda names: self._functions[word](names)
        return lambda names: _field(names, word)

    def _take(self, expected: str | None = None) -> str:
        token = self._tokens.pop(0)
        if expected not in (None, token):
            raise ValueError(f"{expected} expected, not {token}")
        return token

    def _next(self, token: str) -> bool:
        return self._tokens[0] == token and bool(self._tokens.pop(0))


def _tokens(text: str) -> list[str]:
    found, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"not known: {text[at : at + 20]!r}")
        found += [match[1]] if match[1] else []
        at = match.end()
    return found


def _methods(name: str) -> tuple[str, ...]:
    return {"read": ("get", "list"), "write": ("create", "update", "delete")}.get(name, (name,))


def _joined(left: Expression, right: Expression, *, deciding: bool) -> Expression:
    """`||`, which a true side decides, or `&&`, which a false one does: also if the other side is an error."""

    def decided(names: Names) -> bool:
        try:
            first = left(names)
        except Undecided:
            if right(names) is deciding:
                return deciding
            raise
        return deciding if first is deciding else right(names)

    return decided


def _within(value: Any, values: Any) -> bool:
    if not isinstance(values, list):
        raise Undecided
    return value in values


def _field(names: Names, path: str) -> Any:
    value: Any = names
    for name in path.split("."):
        if not isinstance(value, dict) or name not in value:
            raise Undecided(path)
        value = value[name]
    return value
