"""The photometry model: the same bytes each time, and what it computes by formulas written down again here."""

import hashlib

import numpy as np
import pytest

from functions.grading_requests.image.inference import Interpreter
from functions.grading_requests.image.model import SIDE, Model, current
from tools.grading_model import build

MATRIX = np.array([[41.24, 35.76, 18.05], [21.26, 71.52, 7.22], [1.93, 11.92, 95.03]])
HUNTER = [  # XYZ, Rd, +b: made with colour-science 0.4's XYZ_to_Hunter_Rdab for illuminant C, K 175 and 70
    ((73.7, 75.0, 76.2), 75.0, 8.421169354838712),
    ((49.2, 50.0, 48.0), 50.0, 9.41692913385827),
    ((60.0, 61.5, 66.0), 61.5, 5.023292735585474),
    ((19.42, 20.0, 15.0), 20.0, 13.030454660909326),
]


@pytest.fixture(scope="module")
def interpreter() -> Interpreter:
    return Interpreter(current())


def test_it_is_built_to_the_same_bytes_as_are_served() -> None:
    first, second = build(), build()
    assert first == second
    assert hashlib.sha256(first).hexdigest() == current().sha256, "run make grading-model"


@pytest.mark.parametrize(("xyz", "rd", "plus_b"), HUNTER)
def test_hunter_rd_and_plus_b(
    interpreter: Interpreter, xyz: tuple[float, float, float], rd: float, plus_b: float
) -> None:
    white = np.full((SIDE, SIDE, 3), 255, np.uint8)
    figures = interpreter.run(white, np.diag(xyz), 1.0)
    assert figures.rd == pytest.approx(rd, abs=1e-3)
    assert figures.plus_b == pytest.approx(plus_b, abs=1e-3)


def test_an_image_against_numpy(interpreter: Interpreter) -> None:
    random = np.random.default_rng(5)
    square = random.integers(150, 240, (SIDE, SIDE, 3)).astype(np.uint8)
    square[40:60, 50:80] = 60
    square[300:310, 400:405] = 10
    square[200:220, 200:220] = 50
    square[205:215, 205:215] = 220  # a ring: one piece with a hole
    figures = interpreter.run(square, MATRIX, 15.0)
    value = square / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    xyz = linear.reshape(-1, 3) @ MATRIX.T
    trash = xyz[:, 1] < 15.0
    lint = xyz[~trash].mean(axis=0)
    factor = 0.51 * (21 + 0.2 * lint[1]) / (1 + 0.2 * lint[1])
    assert figures.rd == pytest.approx(lint[1], rel=1e-4)
    assert figures.plus_b == pytest.approx(70 * factor * (lint[1] / 100 - lint[2] / 118.11), rel=1e-3)
    quarters = 100 * trash.reshape(2, SIDE // 2, 2, SIDE // 2).mean(axis=(1, 3))
    assert figures.trash_area == pytest.approx(quarters, rel=1e-4)
    assert figures.particles == 3 - 1


@pytest.mark.parametrize(
    ("shape", "count"),
    [("##.\n.##", 1), ("#..\n.#.", 1), ("#.#\n...", 2), ("###\n#.#\n###", 0), ("...\n...", 0)],
    ids=["joined", "by a corner", "apart", "a ring", "nothing"],
)
def test_pieces_are_counted_with_their_corners_and_less_their_holes(
    interpreter: Interpreter, shape: str, count: int
) -> None:
    square = np.full((SIDE, SIDE, 3), 230, np.uint8)
    for row, line in enumerate(shape.splitlines()):
        for column, mark in enumerate(line):
            square[row, column] = 0 if mark == "#" else 230  # at the very edge, where there is no neighbour
    assert interpreter.run(square, MATRIX, 15.0).particles == count


def test_no_lint_at_all_is_no_division_by_zero(interpreter: Interpreter) -> None:
    figures = interpreter.run(np.zeros((SIDE, SIDE, 3), np.uint8), MATRIX, 15.0)
    assert (figures.rd, figures.trash_area.mean()) == (0.0, 100.0)
    assert np.isfinite(figures.plus_b)


def test_another_graph_has_another_hash() -> None:
    assert hashlib.sha256(build(256)).hexdigest() != current().sha256
    assert Interpreter(Model("other", "", build(256))) is not None
