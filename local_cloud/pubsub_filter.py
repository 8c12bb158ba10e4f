"""The filter language of Pub/Sub subscriptions, compiled to a predicate on a message's attributes.

    expression = term {"AND" term} | term {"OR" term}
    term       = ("NOT" | "-") term | "(" expression ")" | comparison
    comparison = "attributes" ":" key | "attributes" "." key ("=" | "!=") string
               | "hasPrefix" "(" "attributes" "." key "," string ")"

Source: cloud.google.com/pubsub/docs/subscription-message-filter. AND and OR are mixed only with parentheses, operators
are upper case, keys beyond letters, digits, `_` and `-` are quoted, and a filter has at most 256 bytes.
"""

import ast
import re
from collections.abc import Callable, Mapping

from google.api_core import exceptions

Filter = Callable[[Mapping[str, str]], bool]

MAX_BYTES = 256

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<string>"(?:[^"\\\n]|\\(?:["'\\abfnrtv]|u[0-9A-Fa-f]{4}|U000[0-9A-Fa-f]{5}|x[0-9A-Fa-f]{2}|[0-3][0-7]{2}))*")
        | (?P<word>\w[\w-]*)
        | (?P<sign>!=|[():.,=-])
    )""",
    re.VERBOSE | re.ASCII,
)


def compile_filter(text: str) -> Filter:
    """The predicate that `text` describes. Raises InvalidArgument, naming the place, where it is malformed."""
    if len(text.encode()) > MAX_BYTES:
        raise exceptions.InvalidArgument(f"The filter is too long: at most {MAX_BYTES} bytes.")
    parser = _Parser(text)
    predicate = parser.expression()
    parser.finish()
    return predicate


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text.rstrip()
        self._at = 0
        self._kind: str | None = None
        self._token = ""
        self._advance()

    def expression(self) -> Filter:
        terms = [self._term()]
        operator = self._token if self._is_word("AND", "OR") else None
        while self._is_word("AND", "OR"):
            if self._token != operator:
                raise self._malformed("AND and OR need parentheses to be mixed")
            self._advance()
            terms.append(self._term())
        if len(terms) == 1:
            return terms[0]
        decide = all if operator == "AND" else any
        return lambda attributes: decide(term(attributes) for term in terms)

    def finish(self) -> None:
        if self._kind is not None:
            raise self._malformed("the expression should end here")

    def _term(self) -> Filter:
        if self._is_word("NOT") or self._is_sign("-"):
            self._advance()
            negated = self._term()
            return lambda attributes: not negated(attributes)
        if self._is_sign("("):
            self._advance()
            inner = self.expression()
            self._expect(")")
            return inner
        return self._comparison()

    def _comparison(self) -> Filter:
        if self._is_word("hasPrefix"):
            self._advance()
            self._expect("(")
            self._attributes()
            self._expect(".")
            key = self._key()
            self._expect(",")
            prefix = self._string()
            self._expect(")")
            return lambda attributes: key in attributes and attributes[key].startswith(prefix)
        self._attributes()
        if self._is_sign(":"):
            self._advance()
            key = self._key()
            return lambda attributes: key in attributes
        self._expect(".")
        key = self._key()
        equal = self._is_sign("=")
        self._expect("=" if equal else "!=")
        value = self._string()
        # A message without the key is unequal to every value.
        return lambda attributes: (key in attributes and attributes[key] == value) is equal

    def _attributes(self) -> None:
        if not self._is_word("attributes"):
            raise self._malformed("expected `attributes`")
        self._advance()

    def _key(self) -> str:
        if self._kind == "word":
            key = self._token
            self._advance()
            return key
        return self._string()

    def _string(self) -> str:
        if self._kind != "string":
            raise self._malformed("expected a string in double quotes")
        value: str = ast.literal_eval(self._token)
        self._advance()
        return value

    def _expect(self, sign: str) -> None:
        if not self._is_sign(sign):
            raise self._malformed(f"expected `{sign}`")
        self._advance()

    def _is_word(self, *words: str) -> bool:
        return self._kind == "word" and self._token in words

    def _is_sign(self, sign: str) -> bool:
        return self._kind == "sign" and self._token == sign

    def _advance(self) -> None:
        if self._at == len(self._text):
            self._kind, self._token = None, ""
            return
        match = _TOKEN.match(self._text, self._at)
        if match is None:
            raise self._malformed("not a token of the filter language")
        self._kind, self._token = match.lastgroup, match[match.lastgroup or 0]
        self._at = match.end()

    def _malformed(self, reason: str) -> exceptions.InvalidArgument:
        start = self._at - len(self._token)
        return exceptions.InvalidArgument(f"Invalid filter at character {start}: {reason}.")
