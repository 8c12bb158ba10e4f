"""The peer of the grading figure: Pillow decodes the photograph and brings it to the graph's square, LiteRT runs it."""

import io
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

from functions.grading_requests.image.model import SIDE, current

_THRESHOLD = 0.2
"""Luminance below which is trash; any value costs the same."""


class Bare:
    """The current model, without colour calibration."""

    def __init__(self) -> None:
        self._litert: Any = Interpreter(model_content=current().content, num_threads=1)
        self._litert.allocate_tensors()
        self._inputs = {one["name"]: one for one in self._litert.get_input_details()}
        self._matrix = np.resize(np.eye(3, dtype=np.float32), self._inputs["matrix"]["shape"])

    def run(self, data: bytes) -> list[Any]:
        """What the graph answers for a photograph."""
        square = Image.open(io.BytesIO(data)).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        for name, value in (
            ("rgb", np.asarray(square, np.float32)[None]),
            ("matrix", self._matrix),
            ("threshold", np.array([_THRESHOLD], np.float32)),
        ):
            self._litert.set_tensor(self._inputs[name]["index"], value)
        self._litert.invoke()
        return [self._litert.get_tensor(one["index"]) for one in self._litert.get_output_details()]
