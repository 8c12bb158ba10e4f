"""Whether two names are of the same holder: a bank's or a registry's against the legal name.

No single score of similarity separates true from false pairs ("Vijay Cotton" and "Ajay Cotton" are closer than many true
transliterations), so names are compared word by word, after legal forms, abbreviations and spellings are made one.
"""

import functools
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Band = Literal["match", "review", "mismatch"]

NEAR = 0.8
"""Normalised Damerau-Levenshtein similarity from which two words may be the same, mistyped: a person looks."""

# \w has the letters of Indian scripts, and not the vowel signs that follow them.
_WORD = re.compile(r"[\w\u0900-\u0dff]+")
_LATIN = re.compile(r"[a-z]")


@dataclass(frozen=True, slots=True)
class Table:
    """`names.json`. `legal_forms`: the words of an ending -> the form, the longest first."""

    legal_forms: Sequence[tuple[tuple[str, ...], str]]
    ignored: frozenset[str]
    abbreviations: Mapping[str, str]
    spellings: Mapping[str, str]
    sounds: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The band, and codes that say why."""

    band: Band
    explanation: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Name:
    words: tuple[str, ...]
    legal_form: str | None
    joined: frozenset[str]
    """The sound of all words as one, with and without those that are ignored: Shri Ram is Shriram."""
    latin: bool


@functools.cache
def table() -> Table:
    """The table of names, read at the first use."""
    data = json.loads((Path(__file__).parent / "names.json").read_text("utf-8"))
    forms = [(tuple(words.split()), form) for words, form in data["legal_forms"].items()]
    return Table(
        legal_forms=sorted(forms, key=lambda entry: -len(entry[0])),
        ignored=frozenset(data["ignored"]),
        abbreviations=data["abbreviations"],
        spellings=data["spellings"],
        sounds=[(written, heard) for written, heard in data["sounds"]],
    )


def compare(one: str, other: str) -> Comparison:
    """Compare two names of a holder; symmetric.

    `match`: the same words, by table or by sound, and the same legal form. `review`: a word is near, abbreviated to its
    initial, or missing on one side, one side has no legal form, or is in another script. `mismatch`: other words, or
    another legal form.
    """
    a, b = _read(one), _read(other)
    pairs = _align(a.words, b.words)
    explanation: set[str] = set()
    if a.legal_form != b.legal_form:
        both = a.legal_form is not None and b.legal_form is not None
        explanation.add("legal_form_conflict" if both else "legal_form_missing")
    if a.latin != b.latin:
        explanation.add("other_script")
    elif not a.joined & b.joined:
        explanation |= {_difference(*pair) for pair in pairs} - {""}
        if all(any(not word for word in side) for side in zip(*pairs, strict=True)) or not pairs:
            explanation.add("other_words")
    band: Band = "match"
    if explanation & {"legal_form_conflict", "other_words"}:
        band = "mismatch"
    elif explanation:
        band = "review"
    return Comparison(band, tuple(sorted(explanation)))


def _read(name: str) -> _Name:
    plain = unicodedata.normalize("NFKC", name).casefold()
    words = tuple(_WORD.findall(plain))
    legal_form = None
    for ending, form in table().legal_forms:
        if len(words) > len(ending) and words[-len(ending) :] == ending:
            words, legal_form = words[: -len(ending)], form
            break
    kept = tuple(word for word in words if word not in table().ignored)
    expanded = tuple(_expand(word) for word in kept or words)
    return _Name(expanded, legal_form, frozenset({_joined(expanded), _joined(words)}), _LATIN.search(plain) is not None)


def _expand(word: str) -> str:
    return table().abbreviations.get(word, table().spellings.get(word, word))


@functools.lru_cache(maxsize=4096)
def _sound(word: str) -> str:
    """How a word sounds across the usual ways to write Indian names in Latin letters."""
    heard = word
    for written, sound in table().sounds:
        heard = heard.replace(written, sound)
    heard = re.sub(r"(.)\1", r"\1", heard)
    return heard[:-1] if len(heard) > 4 and heard.endswith("a") else heard


def _joined(words: Sequence[str]) -> str:
    return "".join(_sound(word) for word in words)


def _likeness(one: str, other: str) -> float:
    """1 for the same word, by sound; 0 where two words cannot be the same."""
    # rapidfuzz takes a while to import, and serving clients does without it.
    from rapidfuzz.distance import DamerauLevenshtein

    if _sound(one) == _sound(other):
        return 1.0
    if one[0] == other[0] and 1 in (len(one), len(other)):
        return NEAR
    likeness = DamerauLevenshtein.normalized_similarity(_sound(one), _sound(other))
    # A first letter is hardly ever mistyped, and makes other names of like ones: Vijay and Ajay, Ramesh and Kamesh.
    return likeness if likeness >= NEAR and _sound(one)[0] == _sound(other)[0] else 0.0


def _align(ones: Sequence[str], others: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Each word with its counterpart, the likest first; words are taken once, and what has none is beside ""."""
    likest = sorted(
        ((_likeness(a, b), -abs(n - m), n, m) for n, a in enumerate(ones) for m, b in enumerate(others)),
        key=lambda entry: (-entry[0], -entry[1], entry[2], entry[3]),
    )
    left, right = dict(enumerate(ones)), dict(enumerate(others))
    pairs: list[tuple[str, str]] = []
    for likeness, _, n, m in likest:
        if likeness and n in left and m in right:
            pairs.append((left.pop(n), right.pop(m)))
    return (*pairs, *((word, "") for word in left.values()), *(("", word) for word in right.values()))


def _difference(one: str, other: str) -> str:
    if not one or not other:
        return "word_missing"
    if _sound(one) == _sound(other):
        return ""
    return "initial" if 1 in (len(one), len(other)) else "word_near"
