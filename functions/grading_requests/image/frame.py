"""Finding the sampling frame in a photograph.

The frame is a flat board of known geometry (`data/frame.json`, millimetres): a finder mark in each corner, a window that
the lint is pressed into, a 24-patch colour card below it. A mark is a dark core within a white within a dark ring, so that
every line through its centre crosses dark and white in the proportion 1:1:3:1:1, at any distance and turn (ISO/IEC 18004
section 12, the finder pattern of QR codes). Four marks give the homography from the frame to the photograph.
"""

import functools
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..readings import Unreadable

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

DARK = 0.9
"""A pixel is dark if it is below this share of the mean around it."""
MOST_MARKS = 8
"""Candidates that are tried as corners, those with the most support first."""
MIN_UNIT = 1.5
"""Pixels of a mark's module below which its rings cannot be told apart."""
MOST_CROSSINGS = 10_000
"""Crossings, across or down, above which a picture shows no frame: a large and noisy photograph of one has some 6,000."""
STRIP = 256
"""Lines that are looked at together: their edges take 50 MB, and those of a whole picture of noise a gigabyte."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The geometry of the frame in millimetres, and the XYZ of the card's patches (Y of 0 to 100)."""

    version: str
    corners: Floats
    """[4, 2]: centres of the marks, clockwise from the upper left."""
    window: tuple[float, float, float]
    """x, y, side."""
    centres: Floats
    """[24, 2]: centres of the patches."""
    patch: float
    xyz: Floats
    """[24, 3]."""
    white: int
    """The number of the white patch."""
    module: float


@functools.cache
def layout() -> Layout:
    """The frame as its data file says, read at the first use."""
    data: Any = json.loads((Path(__file__).parent / "data" / "frame.json").read_text("utf-8"))
    card, window = data["card"], data["window"]
    pitch = card["patch"] + card["gap"]
    centres = [
        (card["x"] + card["patch"] / 2 + column * pitch, card["y"] + card["patch"] / 2 + row * pitch)
        for row in range(card["rows"])
        for column in range(card["columns"])
    ]
    width, height = data["width"], data["height"]
    return Layout(
        version=data["version"],
        corners=np.array([(0, 0), (width, 0), (width, height), (0, height)], float),
        window=(window["x"], window["y"], window["side"]),
        centres=np.array(centres, float),
        patch=card["patch"],
        xyz=np.array([_xyz(patch["x"], patch["y"], 100 * patch["Y"]) for patch in card["patches"]]),
        white=[patch["name"] for patch in card["patches"]].index("white"),
        module=data["mark"]["module"],
    )


def _xyz(x: float, y: float, luminance: float) -> tuple[float, float, float]:
    """CIE xyY to XYZ (CIE 15 section 7)."""
    return x * luminance / y, luminance, (1 - x - y) * luminance / y


@dataclass(frozen=True, slots=True)
class Mark:
    """A finder mark: its centre and the size of its module, in pixels."""

    x: float
    y: float
    unit: float
    support: int
    """Lines that crossed it in the right proportion."""


def no_card(why: str) -> Unreadable:
    """What to tell a photographer whose picture does not show the frame."""
    return Unreadable(
        "card_not_found", f"Without the card no colour can be measured, and {why}. Photograph the whole board"
    )


def marks(grey: NDArray[np.uint8]) -> list[Mark]:
    """The finder marks in a grey image, those with the most support first.

    Raises:
        Unreadable: it is noise or a pattern that looks like marks all over.
    """
    dark = _dark(grey)
    across = clusters(_crossings(dark))
    down = [Mark(mark.y, mark.x, mark.unit, mark.support) for mark in clusters(_crossings(dark.T))]
    found: list[Mark] = []
    for one in across:
        for other in down:
            near = max(one.unit, other.unit)
            if abs(one.x - other.x) < near and abs(one.y - other.y) < near and 0.6 < one.unit / other.unit < 1.7:
                # Lines across know x best, lines down y.
                unit = (one.unit + other.unit) / 2
                found.append(Mark(one.x, other.y, unit, one.support + other.support))
                break
    return sorted(found, key=lambda mark: -mark.support)


def placements(found: list[Mark]) -> Iterator[Floats]:
    """Homographies from millimetres of the frame to pixels, one for each way in which four marks may be its corners."""
    for four in itertools.combinations(found[:MOST_MARKS], 4):
        units = [mark.unit for mark in four]
        points = np.array([(mark.x, mark.y) for mark in four])
        if max(units) > 2 * min(units) or not _is_frame(points := _clockwise(points)):
            continue
        for turn in range(4):
            yield homography(layout().corners, np.roll(points, turn, axis=0))


def homography(source: Floats, target: Floats) -> Floats:
    """The 3 x 3 projective map of four points to four points."""
    rows: list[list[float]] = []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
    solved = np.linalg.solve(np.array(rows), target.reshape(8))
    return np.append(solved, 1.0).reshape(3, 3)


def project(matrix: Floats, points: Floats) -> Floats:
    """`points` [N, 2] through a homography."""
    mapped = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    return mapped[:, :2] / mapped[:, 2:]


def _dark(grey: NDArray[np.uint8]) -> Mask:
    """Where the image is darker than its surroundings, so that uneven light does not matter."""
    radius = max(8, min(grey.shape) // 12)
    padded = np.pad(grey.astype(np.float64), ((radius + 1, radius), (radius + 1, radius)), mode="edge")
    total = padded.cumsum(0).cumsum(1)
    side = 2 * radius + 1
    around = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    return grey < DARK * around / side**2


def _crossings(dark: Mask) -> Floats:
    """Where lines cross dark and white as a mark's centre does: [N, 3] of x, y and the module's size, line by line."""
    found: list[Floats] = []
    count = 0
    for top in range(0, len(dark), STRIP):
        strip = _crossings_of(dark[top : top + STRIP], top)
        found.append(strip)
        count += len(strip)
        if count > MOST_CROSSINGS:
            raise no_card("the whole image resembles corner marks")
    return np.concatenate(found)


def _crossings_of(dark: Mask, top: int) -> Floats:
    height, width = dark.shape
    framed = np.zeros((height, width + 2), bool)
    framed[:, 1:-1] = dark
    flat = np.flatnonzero(framed[:, 1:] != framed[:, :-1])
    if len(flat) < 6:
        return np.empty((0, 3))
    row, column = flat // (width + 1), flat % (width + 1)
    # Edges i to i + 5 bound five runs; a row has an even number of edges, and the even ones begin a dark run.
    first = np.arange(len(flat) - 5)
    edges = np.stack([column[first + step] for step in range(6)], axis=1)
    runs = np.diff(edges, axis=1).astype(float)
    unit = runs.sum(axis=1) / 7
    tolerance = 0.5 * unit + 0.5
    fits = (row[first] == row[first + 5]) & (first % 2 == 0) & (unit >= MIN_UNIT)
    fits &= np.all(np.abs(runs[:, [0, 1, 3, 4]] - unit[:, None]) <= tolerance[:, None], axis=1)
    fits &= np.abs(runs[:, 2] - 3 * unit) <= 2 * tolerance
    centre = (edges[:, 2] + edges[:, 3] - 1) / 2
    return np.column_stack([centre, top + row[first], unit])[fits]


def clusters(crossings: Floats) -> list[Mark]:
    """Crossings of neighbouring lines, put together. They come line by line: a cluster that ended too far above is done."""
    found: list[list[list[float]]] = []
    near: list[list[list[float]]] = []
    line = -1.0
    for crossing in crossings.tolist():
        x, y, _ = crossing
        if y > line:
            line = y
            near = [cluster for cluster in near if y - cluster[-1][1] < 2 * cluster[-1][2] + 1]
        for cluster in near:
            last = cluster[-1]
            if last[1] < y and abs(x - last[0]) < last[2]:
                cluster.append(crossing)
                break
        else:
            near.append([crossing])
            found.append(near[-1])
    made: list[Mark] = []
    for cluster in found:
        x, y, unit = np.median(np.array(cluster), axis=0)
        if len(cluster) >= unit:  # the core is three modules tall
            made.append(Mark(float(x), float(y), float(unit), len(cluster)))
    return made


def _clockwise(points: Floats) -> Floats:
    """Four points in the order of a clock's hands, as the image is seen (y down)."""
    from_centre = points - points.mean(axis=0)
    return points[np.argsort(np.arctan2(from_centre[:, 1], from_centre[:, 0]))]


def _is_frame(points: Floats) -> bool:
    """Whether four points are corners of a convex figure whose sides are not much unlike a frame's."""
    sides = np.roll(points, -1, axis=0) - points
    following = np.roll(sides, -1, axis=0)
    turns = sides[:, 0] * following[:, 1] - sides[:, 1] * following[:, 0]
    lengths = np.hypot(sides[:, 0], sides[:, 1])
    return bool(np.all(turns > 0) and lengths.max() < 3 * lengths.min())
