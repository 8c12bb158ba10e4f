"""Running the photometry model. The only place that imports LiteRT."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kapas.platform.once import once

from .frame import Floats
from .model import Model, current


@dataclass(frozen=True, slots=True)
class Figures:
    """What the graph answers; see `tools/grading_model.py` for how each is computed."""

    rd: float
    plus_b: float
    trash_area: Floats
    """[2, 2] per cent of area, of each quarter."""
    particles: float


class Interpreter:
    """One LiteRT interpreter. Not for several threads at once: the grading task serves one request at a time."""

    def __init__(self, model: Model) -> None:
        from ai_edge_litert.interpreter import Interpreter as LiteRt

        # One thread: the figures then do not depend on how the work is divided.
        self._litert: Any = LiteRt(model_content=model.content, num_threads=1)
        self._litert.allocate_tensors()
        self._inputs = {one["name"]: one["index"] for one in self._litert.get_input_details()}
        self._outputs = {one["name"]: one["index"] for one in self._litert.get_output_details()}

    def run(self, square: NDArray[np.uint8], matrix: Floats, threshold: float) -> Figures:
        """The figures of a square of lint [SIDE, SIDE, 3], for the card's matrix and the luminance below which is trash."""
        self._set("rgb", square.astype(np.float32)[None])
        self._set("matrix", matrix.astype(np.float32))
        self._set("threshold", np.array([threshold], np.float32))
        self._litert.invoke()
        return Figures(
            rd=float(self._get("rd")[0]),
            plus_b=float(self._get("plus_b")[0]),
            trash_area=self._get("trash_area").astype(np.float64),
            particles=float(self._get("particles")),
        )

    def _set(self, name: str, value: NDArray[np.float32]) -> None:
        self._litert.set_tensor(self._inputs[name], value)

    def _get(self, name: str) -> Any:
        return self._litert.get_tensor(self._outputs[name])


@once
def interpreter() -> Interpreter:
    """The instance's interpreter of the current model."""
    return Interpreter(current())
