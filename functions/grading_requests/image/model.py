"""The photometry model: one LiteRT graph, the same bytes on the phone and on the server."""

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

VERSION = "1.0.0"
"""Of what the graph computes. Another graph gets another version, and so another SHA-256."""
SIDE = 512
"""Pixels of each side of the square of lint that the graph reads."""
PATH = Path(__file__).parent / "data" / "lint_photometry.tflite"


@dataclass(frozen=True, slots=True)
class Model:
    """The graph as it is served: `content` is a TensorFlow Lite flatbuffer, `sha256` in hex."""

    version: str
    sha256: str
    content: bytes


@functools.cache
def current() -> Model:
    """The model that grades now, read at the first use."""
    content = PATH.read_bytes()
    return Model(VERSION, hashlib.sha256(content).hexdigest(), content)
