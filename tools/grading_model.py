"""Write the photometry model of `grading_requests`: `python -m tools.grading_model`.

The graph is put together with LiteRT's own flatbuffer schema, without a training framework, and comes out the same to the
last byte each time: there is nothing learned in it, only published formulas.

    rgb [1, S, S, 3] sRGB of 0 to 255    the square of lint, cut out and straightened
    matrix [3, 3]                        linear RGB -> XYZ under illuminant C, as the colour card gave it
    threshold [1]                        luminance Y, of 100, below which a pixel is trash and not lint

    -> linear light (IEC 61966-2-1) -> XYZ -> trash mask
    -> lint_xyz [3]        mean XYZ of the lint between the trash
       rd, plus_b [1]      Hunter Rd and +b of that (Hunter 1958; illuminant C, 2 degree observer)
       trash_area [2, 2]   per cent of area, of each quarter: the four readings of a sample
       particles []        connected pieces of trash less holes in them: the Euler number by bit quads (Gray 1971)
"""

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from functions.grading_requests.image.model import PATH, SIDE, VERSION

WHITE = (98.04, 100.0, 118.11)
"""XYZ of illuminant C for the 2 degree observer, as Hunter's instruments take it."""
HUNTER_KB = 70.0

_OPTIONS: dict[int, tuple[int, Any]] = {
    getattr(schema.BuiltinOperator, code): (
        getattr(schema.BuiltinOptions, f"{name}Options"),
        getattr(schema, f"{name}OptionsT"),
    )
    for code, name in {
        "ADD": "Add",
        "SUB": "Sub",
        "MUL": "Mul",
        "DIV": "Div",
        "POW": "Pow",
        "LESS": "Less",
        "LESS_EQUAL": "LessEqual",
        "SELECT_V2": "SelectV2",
        "RESHAPE": "Reshape",
        "FULLY_CONNECTED": "FullyConnected",
        "STRIDED_SLICE": "StridedSlice",
        "CAST": "Cast",
        "MEAN": "Reducer",
        "SUM": "Reducer",
        "PAD": "Pad",
        "CONV_2D": "Conv2D",
        "GATHER": "Gather",
    }.items()
}
_TYPES = {np.dtype(np.float32): schema.TensorType.FLOAT32, np.dtype(np.int32): schema.TensorType.INT32}

Shape = Sequence[int]


class Graph:
    """A LiteRT graph while it is put together. Tensors are named by their index."""

    def __init__(self) -> None:
        self._buffers = [schema.BufferT()]
        self._tensors: list[Any] = []
        self._operators: list[Any] = []
        self._codes: dict[int, int] = {}

    def tensor(self, name: str, shape: Shape, kind: int = schema.TensorType.FLOAT32, buffer: int = 0) -> int:
        made = schema.TensorT()
        made.name, made.shape, made.type, made.buffer = name.encode(), list(shape), kind, buffer
        self._tensors.append(made)
        return len(self._tensors) - 1

    def constant(self, value: Any, kind: type[np.generic] = np.float32) -> int:
        array = np.ascontiguousarray(value, kind)
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(array.tobytes(), np.uint8)
        self._buffers.append(buffer)
        number = len(self._buffers) - 1
        return self.tensor(f"constant_{number}", array.shape, _TYPES[array.dtype], number)

    def apply(self, code: str, inputs: Sequence[int], name: str, shape: Shape, *, kind: int = 0, **options: Any) -> int:
        """Add an operator; the tensor it makes."""
        builtin = getattr(schema.BuiltinOperator, code)
        operator = schema.OperatorT()
        operator.opcodeIndex = self._codes.setdefault(builtin, len(self._codes))
        operator.inputs = list(inputs)
        operator.builtinOptionsType, made = _OPTIONS[builtin]
        operator.builtinOptions = made()
        for option, value in options.items():
            setattr(operator.builtinOptions, option, value)
        output = self.tensor(name, shape, kind)
        operator.outputs = [output]
        self._operators.append(operator)
        return output

    def serialized(self, inputs: Sequence[int], outputs: Sequence[int], description: str) -> bytes:
        graph = schema.SubGraphT()
        graph.name, graph.tensors, graph.operators = b"main", self._tensors, self._operators
        graph.inputs, graph.outputs = list(inputs), list(outputs)
        model = schema.ModelT()
        model.version, model.description = 3, description.encode()
        model.subgraphs, model.buffers = [graph], self._buffers
        model.operatorCodes = [_operator_code(builtin) for builtin in self._codes]
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())


def _operator_code(builtin: int) -> Any:
    code = schema.OperatorCodeT()
    # Readers of the time when there were fewer operators look at the deprecated field.
    code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, min(builtin, 127), 1
    return code


def build(side: int = SIDE) -> bytes:
    """The model for squares of `side` pixels (an even number)."""
    graph = Graph()
    rgb = graph.tensor("rgb", [1, side, side, 3])
    matrix, threshold = graph.tensor("matrix", [3, 3]), graph.tensor("threshold", [1])
    xyz = _xyz(graph, rgb, matrix, side)
    mask = _mask(graph, xyz, threshold, side)
    lint = _mean_of_lint(graph, xyz, mask, side)
    rd, plus_b = _hunter(graph, lint)
    quarters = graph.apply("RESHAPE", [mask, graph.constant([2, side // 2, 2, side // 2], np.int32)], "quarters",
                           [2, side // 2, 2, side // 2], newShape=[2, side // 2, 2, side // 2])  # fmt: skip
    share = graph.apply("MEAN", [quarters, graph.constant([1, 3], np.int32)], "share", [2, 2])
    area = graph.apply("MUL", [share, graph.constant(100.0)], "trash_area", [2, 2])
    particles = _particles(graph, mask, side)
    return graph.serialized(
        [rgb, matrix, threshold], [lint, rd, plus_b, area, particles], f"kapas lint photometry {VERSION}"
    )


def _xyz(graph: Graph, rgb: int, matrix: int, side: int) -> int:
    """XYZ of each pixel, [side * side, 3]."""
    image, pixels = [1, side, side, 3], side * side
    value = graph.apply("MUL", [rgb, graph.constant(1 / 255)], "value", image)
    low = graph.apply("MUL", [value, graph.constant(1 / 12.92)], "low", image)
    shifted = graph.apply("ADD", [value, graph.constant(0.055)], "shifted", image)
    base = graph.apply("MUL", [shifted, graph.constant(1 / 1.055)], "base", image)
    high = graph.apply("POW", [base, graph.constant(2.4)], "high", image)
    is_low = graph.apply("LESS_EQUAL", [value, graph.constant(0.04045)], "is_low", image, kind=schema.TensorType.BOOL)
    linear = graph.apply("SELECT_V2", [is_low, low, high], "linear", image)
    shape = [pixels, 3]
    flat = graph.apply("RESHAPE", [linear, graph.constant(shape, np.int32)], "flat", shape, newShape=shape)
    return graph.apply("FULLY_CONNECTED", [flat, matrix, graph.constant(np.zeros(3))], "xyz", shape)


def _mask(graph: Graph, xyz: int, threshold: int, side: int) -> int:
    """1 where a pixel is trash, 0 where it is lint, [side * side, 1]."""
    shape = [side * side, 1]
    begin, end, step = ([0, 1], [side * side, 2], [1, 1])
    parts = [graph.constant(part, np.int32) for part in (begin, end, step)]
    luminance = graph.apply("STRIDED_SLICE", [xyz, *parts], "luminance", shape)
    below = graph.apply("LESS", [luminance, threshold], "below", shape, kind=schema.TensorType.BOOL)
    types = {"inDataType": schema.TensorType.BOOL, "outDataType": schema.TensorType.FLOAT32}
    return graph.apply("CAST", [below], "mask", shape, **types)


def _mean_of_lint(graph: Graph, xyz: int, mask: int, side: int) -> int:
    shape = [side * side, 1]
    lint = graph.apply("SUB", [graph.constant(1.0), mask], "lint", shape)
    kept = graph.apply("MUL", [xyz, lint], "kept", [side * side, 3])
    # Row by row: 262,144 values added up one after the other in float32 come out 0.2% short.
    rows = [side, side, 3]
    lines = graph.apply("RESHAPE", [kept, graph.constant(rows, np.int32)], "lines", rows, newShape=rows)
    sums = graph.apply("SUM", [lines, graph.constant([1], np.int32)], "sums", [side, 3])
    total = graph.apply("SUM", [sums, graph.constant([0], np.int32)], "total", [3])
    count = graph.apply("SUM", [lint, graph.constant([0], np.int32)], "count", [1])
    # A square without any lint gives zeros, and no division by zero.
    divisor = graph.apply("ADD", [count, graph.constant(1e-6)], "divisor", [1])
    return graph.apply("DIV", [total, divisor], "lint_xyz", [3])


def _hunter(graph: Graph, xyz: int) -> tuple[int, int]:
    """Rd = Y and +b = Kb f (Y/Yn - Z/Zn), f = 0.51 (21 + 0.2 Y) / (1 + 0.2 Y)."""

    def component(index: int, name: str) -> int:
        parts = [graph.constant([at], np.int32) for at in (index, index + 1, 1)]
        return graph.apply("STRIDED_SLICE", [xyz, *parts], name, [1])

    def scaled(tensor: int, factor: float, name: str) -> int:
        return graph.apply("MUL", [tensor, graph.constant(factor)], name, [1])

    rd, z = component(1, "rd"), component(2, "z")
    fifth = scaled(rd, 0.2, "fifth")
    above = graph.apply("ADD", [fifth, graph.constant(21.0)], "above", [1])
    below = graph.apply("ADD", [fifth, graph.constant(1.0)], "below_line", [1])
    factor = scaled(graph.apply("DIV", [above, below], "ratio", [1]), 0.51 * HUNTER_KB, "factor")
    relative_y, relative_z = scaled(rd, 1 / WHITE[1], "relative_y"), scaled(z, 1 / WHITE[2], "relative_z")
    difference = graph.apply("SUB", [relative_y, relative_z], "difference", [1])
    return rd, graph.apply("MUL", [difference, factor], "plus_b", [1])


def _particles(graph: Graph, mask: int, side: int) -> int:
    """The Euler number for 8-connected pieces, (Q1 - Q3 - 2 Qd) / 4 over all 2 x 2 squares of the padded mask.

    Each square's pattern is numbered 0 to 15 by a convolution, and its weight looked up.
    """
    image, padded, quads = [1, side, side, 1], [1, side + 2, side + 2, 1], [1, side + 1, side + 1, 1]
    plane = graph.apply("RESHAPE", [mask, graph.constant(image, np.int32)], "plane", image, newShape=image)
    border = graph.constant([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32)
    framed = graph.apply("PAD", [plane, border], "framed", padded)
    kernel = graph.constant(np.array([[1, 2], [4, 8]]).reshape(1, 2, 2, 1))
    pattern = graph.apply(
        "CONV_2D",
        [framed, kernel, graph.constant([0.0])],
        "pattern",
        quads,
        padding=schema.Padding.VALID,
        strideH=1,
        strideW=1,
        dilationHFactor=1,
        dilationWFactor=1,
    )
    types = {"inDataType": schema.TensorType.FLOAT32, "outDataType": schema.TensorType.INT32}
    number = graph.apply("CAST", [pattern], "number", quads, kind=schema.TensorType.INT32, **types)
    weights = graph.constant([_quad_weight(quad) for quad in range(16)])
    weight = graph.apply("GATHER", [weights, number], "weight", quads, axis=0)
    return graph.apply("SUM", [weight, graph.constant([0, 1, 2, 3], np.int32)], "particles", [])


def _quad_weight(quad: int) -> float:
    ones = quad.bit_count()
    if quad in (0b0110, 0b1001):  # two on a diagonal
        return -0.5
    return {1: 0.25, 3: -0.25}.get(ones, 0.0)


def main() -> None:
    content = build()
    PATH.write_bytes(content)
    print(f"{PATH.name}: {len(content)} bytes")


if __name__ == "__main__":
    main()
