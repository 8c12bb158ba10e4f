"""States and union territories of India by their GST codes, which begin a GSTIN and say which tax a supply bears."""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class States:
    """`states.json`: GST state code -> its successor, or itself while it is issued; PIN prefix -> the usual states."""

    successors: Mapping[str, str]
    pin_prefixes: Mapping[str, frozenset[str]]


@functools.cache
def states() -> States:
    """The table of states, read at the first use."""
    data = json.loads((Path(__file__).with_suffix(".json")).read_text("utf-8"))
    return States(
        {code: entry.get("successor", code) for code, entry in data["states"].items()},
        {prefix: frozenset(codes) for prefix, codes in data["pin_prefixes"].items()},
    )
