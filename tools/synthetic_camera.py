"""Photographs of lint that was never grown: a lot's surface in the sampling frame, seen by a simulated camera.

    photo = photograph(Scene(rd=75.0, plus_b=8.8, specks=24), Camera(tilt=0.04))
    photo.data, photo.truth.trash_area_pct

`python -m tools.synthetic_camera lint.jpg` writes one. What is drawn is known exactly, so that what is measured can be
held against it: colour in XYZ under illuminant C, trash as discs on the lint.
"""

import argparse
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from functions.grading_requests.image.frame import homography, layout, project

Floats = NDArray[np.float64]

SCALE = 6
"""Pixels a millimetre, of the frame as it is drawn."""
MARGIN = 24
"""Millimetres of board around the marks."""
WHITE = np.array([98.04, 100.0, 118.11])
HUNTER_KA, HUNTER_KB = 175.0, 70.0
BOARD, INK, PAPER = 0.35, 0.04, 0.88
TRASH = 0.10
"""Luminance of leaf and bark, of 1."""

XYZ_TO_RGB = np.linalg.inv(
    np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])
)
"""IEC 61966-2-1; a camera mixes its channels on top of this."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What lies in front of the camera."""

    rd: float = 75.0
    plus_b: float = 8.8
    specks: int = 24
    speck_mm: tuple[float, float] = (0.8, 2.4)
    """Smallest and largest diameter."""
    seed: int = 1
    card: bool = True
    marks: bool = True


@dataclass(frozen=True, slots=True)
class Camera:
    """How it is looked at. `crosstalk` mixes the channels, as a sensor's filters do; `tint` is the light's colour."""

    width: int = 1200
    height: int = 1600
    exposure: float = 0.85
    tint: tuple[float, float, float] = (1.0, 0.97, 0.9)
    crosstalk: float = 0.08
    turn: float = 0.0
    """Degrees, clockwise."""
    tilt: float = 0.0
    """Share by which the far side is shorter."""
    blur: float = 0.4
    """Standard deviation in pixels."""
    noise: float = 0.004
    distance: float = 1.0
    """Times as far as where the frame fills the picture."""
    quality: int = 92


@dataclass(frozen=True, slots=True)
class Truth:
    """What was drawn."""

    rd: float
    plus_b: float
    trash_area_pct: float
    particles: int


@dataclass(frozen=True, slots=True)
class Photo:
    """A JPEG file and what it shows."""

    data: bytes
    truth: Truth
    content_type: str = field(default="image/jpeg", init=False)


def lint_xyz(rd: float, plus_b: float, a: float = 0.5) -> Floats:
    """XYZ of 0 to 100 of a colour in Hunter's Rd, a, b."""
    factor = 0.51 * (21 + 0.2 * rd) / (1 + 0.2 * rd)
    relative = rd / 100
    return WHITE * np.array([relative + a / (HUNTER_KA * factor), relative, relative - plus_b / (HUNTER_KB * factor)])


def photograph(scene: Scene | None = None, camera: Camera | None = None) -> Photo:
    """Draw the scene, and look at it through the camera. The same scene and camera give the same bytes."""
    scene, camera = scene or Scene(), camera or Camera()
    random = np.random.default_rng(scene.seed)
    board, truth = _draw(scene, random)
    linear = _expose(_look(board, camera), camera, random)
    coded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.clip(linear, 1e-9, None) ** (1 / 2.4) - 0.055)
    image = Image.fromarray(np.rint(255 * np.clip(coded, 0, 1)).astype(np.uint8), "RGB")
    output = io.BytesIO()
    image.save(output, "JPEG", quality=camera.quality, subsampling=0)
    return Photo(output.getvalue(), truth)


def _draw(scene: Scene, random: np.random.Generator) -> tuple[Floats, Truth]:
    """The board as XYZ of 0 to 1, [height, width, 3], and what is on it."""
    frame = layout()
    width, height = frame.corners[2] + 2 * MARGIN
    board = np.empty((round(height * SCALE), round(width * SCALE), 3))
    board[:] = BOARD * WHITE / 100
    if scene.marks:
        for x, y in frame.corners:
            for half, shade in ((4.5, PAPER), (3.5, INK), (2.5, PAPER), (1.5, INK)):
                _square(board, x, y, half * frame.module, shade * WHITE / 100)
    if scene.card:
        for (x, y), xyz in zip(frame.centres, frame.xyz, strict=True):
            _square(board, x, y, frame.patch / 2, xyz / 100)
    left, top, side = frame.window
    pixels = round(side * SCALE)
    lint = np.empty((pixels, pixels, 3))
    lint[:] = lint_xyz(scene.rd, scene.plus_b) / 100
    lint *= _texture(pixels, random)[..., None]
    trash = _specks(pixels, scene, random)
    lint[trash] = TRASH * lint_xyz(50, 14) / 50
    row, column = round((top + MARGIN) * SCALE), round((left + MARGIN) * SCALE)
    board[row : row + pixels, column : column + pixels] = lint
    return board, Truth(scene.rd, scene.plus_b, float(100 * trash.mean()), scene.specks)


def _square(board: Floats, x: float, y: float, half: float, xyz: Floats) -> None:
    low_x, high_x, low_y, high_y = (round((at + MARGIN) * SCALE) for at in (x - half, x + half, y - half, y + half))
    board[low_y:high_y, low_x:high_x] = xyz


def _texture(pixels: int, random: np.random.Generator) -> Floats:
    """Uneven lint: a smooth field around 1."""
    coarse = Image.fromarray(random.normal(1, 0.02, (24, 24)).astype(np.float32), "F")
    smooth = np.asarray(coarse.resize((pixels, pixels), Image.Resampling.BICUBIC), float)
    return smooth / smooth.mean()


def _specks(pixels: int, scene: Scene, random: np.random.Generator) -> NDArray[np.bool_]:
    """Discs that neither touch each other nor the edge."""
    mask = np.zeros((pixels, pixels), bool)
    rows, columns = np.ogrid[:pixels, :pixels]
    placed: list[tuple[float, float, float]] = []
    while len(placed) < scene.specks:
        radius = random.uniform(*scene.speck_mm) / 2 * SCALE
        apart = 1.5 * SCALE
        y, x = random.uniform(radius + apart, pixels - radius - apart, 2)
        if all(np.hypot(x - px, y - py) > radius + pr + apart for px, py, pr in placed):
            placed.append((x, y, radius))
            mask |= (columns - x) ** 2 + (rows - y) ** 2 <= radius**2
    return mask


def _look(board: Floats, camera: Camera) -> Floats:
    """The board as it falls on the sensor: [height, width, 3]."""
    height, width, _ = board.shape
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], float)
    fill = min(camera.width / width, camera.height / height) / camera.distance
    seen = (corners - corners.mean(axis=0)) * fill
    seen[:2, 0] *= 1 - camera.tilt
    angle = np.deg2rad(camera.turn)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    seen = seen @ turn + np.array([camera.width, camera.height]) / 2
    back: Any = homography(seen, corners)
    coefficients = (back / back[2, 2]).ravel()[:8].tolist()
    size = (camera.width, camera.height)
    around = BOARD * WHITE / 100
    channels: list[Floats] = []
    shrink = max(1, round(1 / fill))
    for channel in range(3):
        plane = Image.fromarray(board[..., channel].astype(np.float32), "F")
        if shrink > 1:  # what is made smaller is averaged first, as a lens does
            plane = plane.reduce(shrink).resize((width, height), Image.Resampling.BILINEAR)
        cut = plane.transform(
            size, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BICUBIC, fillcolor=float(around[channel])
        )
        channels.append(np.asarray(_blurred(cut, camera.blur), float))
    return np.stack(channels, axis=-1)


def _blurred(plane: Image.Image, sigma: float) -> Image.Image:
    """Gaussian blur; Pillow's own works on bytes only."""
    if sigma <= 0:
        return plane
    reach = int(np.ceil(3 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    height, width = plane.height, plane.width
    values = np.pad(np.asarray(plane, float), reach, mode="edge")
    values = sum(weight * values[at : at + height] for at, weight in enumerate(kernel))
    values = sum(weight * values[:, at : at + width] for at, weight in enumerate(kernel))
    return Image.fromarray(values.astype(np.float32), "F")


def _expose(xyz: Floats, camera: Camera, random: np.random.Generator) -> Floats:
    """Linear RGB of 0 to 1 as the sensor reads it."""
    mix = (1 - camera.crosstalk) * np.eye(3) + camera.crosstalk / 3
    # The scene's white is made the camera's: the sensor then sees it through its filters and the light's tint.
    adapted = xyz * (np.array([95.047, 100.0, 108.883]) / WHITE)
    rgb = adapted @ XYZ_TO_RGB.T @ mix.T * np.array(camera.tint) * camera.exposure
    return rgb + random.normal(0, camera.noise, rgb.shape) * np.sqrt(np.clip(rgb, 0.01, None))


def corners_in_picture(camera: Camera) -> Floats:
    """Where the marks of an upright frame are drawn, in pixels: to hold what is found against."""
    frame = layout()
    width, height = frame.corners[2] + 2 * MARGIN
    fill = min(camera.width / width, camera.height / height) / camera.distance
    shift = np.array([camera.width, camera.height]) / 2 - fill * np.array([width, height]) / 2
    flat = np.array([[fill, 0, shift[0] + fill * MARGIN], [0, fill, shift[1] + fill * MARGIN], [0, 0, 1]])
    return project(flat, frame.corners)


def main() -> None:
    parser = argparse.ArgumentParser(description="write a photograph of simulated lint")
    parser.add_argument("file", type=Path)
    parser.add_argument("--rd", type=float, default=75.0)
    parser.add_argument("--plus-b", type=float, default=8.8)
    parser.add_argument("--specks", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    photo = photograph(Scene(arguments.rd, arguments.plus_b, arguments.specks, seed=arguments.seed))
    arguments.file.write_bytes(photo.data)
    print(photo.truth)


if __name__ == "__main__":
    main()
