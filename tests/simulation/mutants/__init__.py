"""The system with one mistake in it. Each mistake is one that a person could make; the simulation has to find it.

A mutant patches the loaded modules of the functions and is undone afterwards. `seeds` is within how many seeds it is found,
of days that have its `stories`.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from tests.simulation.bench import Bench
from tests.simulation.fleet import Functions

Patch = tuple[Any, str, Any]
"""What is replaced: an attribute of an object, by a value."""


@dataclass(frozen=True, slots=True)
class Mutant:
    name: str
    seeds: int
    frequent: tuple[str, ...]
    """The kinds of fault that bring it to light."""
    stories: tuple[str, ...]
    """What its days have; those of the seed if none is named."""
    patches: Callable[[Functions], Iterator[Patch]]


MUTANTS: list[Mutant] = []


def mutant(
    seeds: int, *frequent: str, stories: tuple[str, ...] = ()
) -> Callable[[Callable[[Functions], Iterator[Patch]]], None]:
    """Enter a mutant that is found within so many seeds."""

    def enter(patches: Callable[[Functions], Iterator[Patch]]) -> None:
        MUTANTS.append(Mutant(patches.__name__, seeds, frequent, stories, patches))

    return enter


@contextmanager
def mutated(bench: Bench, mutant: Mutant) -> Generator[None]:
    """A bench whose functions have the mutant's mistake in them."""
    undo: list[Patch] = []
    bench.frequent, bench.stories = mutant.frequent, mutant.stories
    try:
        for target, name, value in mutant.patches(bench.functions):
            undo.append((target, name, getattr(target, name)))
            setattr(target, name, value)
        yield
    finally:
        bench.frequent, bench.stories = (), ()
        for target, name, value in reversed(undo):
            setattr(target, name, value)


def instead(text: str, *changes: tuple[str, str]) -> str:
    """`text` with each change made; a change that finds nothing is a mutant that does nothing."""
    for old, new in changes:
        if old not in text:
            raise LookupError(f"the code no longer has {old!r}")
        text = text.replace(old, new)
    return text


for name in ("delivery", "requests", "privacy", "gradings", "trades", "findings"):
    import_module(f"{__name__}.{name}")
