"""From photographs of the synthetic camera to figures, and what is refused on the way."""

import functools
import io
import sys
from collections.abc import Callable
from decimal import Decimal
from types import FrameType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from functions.grading_requests.image import frame, images, vision
from functions.grading_requests.image.photometry import calibrate, linear
from functions.grading_requests.readings import Unreadable
from functions.grading_requests.standards.policy import policy
from tools.synthetic_camera import Camera, Photo, Scene, corners_in_picture, lint_xyz, photograph

SMALL = Camera(width=960, height=1280)


@functools.cache
def photo(scene: Scene = Scene(), camera: Camera = SMALL) -> Photo:  # noqa: B008 - frozen
    return photograph(scene, camera)


@pytest.mark.parametrize(
    ("scene", "camera"),
    [
        (Scene(rd=68, plus_b=11, specks=60, seed=3), SMALL),
        (Scene(rd=80, plus_b=7, specks=5, seed=4), Camera(width=960, height=1280, turn=180, tint=(1, 0.9, 0.75))),
        (Scene(rd=75, seed=5), Camera(width=1280, height=960, turn=90)),
        (Scene(rd=72, plus_b=9.5, seed=6), Camera(width=1200, height=1600, turn=9, tilt=0.06, distance=1.3)),
        (Scene(rd=78, plus_b=8, seed=7), Camera(width=1536, height=2048, crosstalk=0.2, noise=0.01)),
    ],
    ids=["spotted", "upside down", "sideways", "askew", "large and noisy"],
)
def test_measures_what_was_drawn(scene: Scene, camera: Camera) -> None:
    shot = photo(scene, camera)
    reading = vision.read(shot.data)
    uncertainty = policy().uncertainty["image"]
    assert abs(float(reading.rd) - scene.rd) < 3 * float(uncertainty["rd"])
    assert abs(float(reading.plus_b) - scene.plus_b) < 3 * float(uncertainty["plus_b"])
    assert abs(float(reading.trash_area_pct) - shot.truth.trash_area_pct) < 3 * float(reading.trash_area_uncertainty)
    assert abs(reading.trash_particles - scene.specks) <= max(1, scene.specks // 20)
    assert reading.card_residual < 1


def test_the_same_bytes_give_the_same_figures() -> None:
    assert vision.read(photo().data) == vision.read(photo().data)


def test_without_the_card_s_matrix_the_colour_would_be_wrong() -> None:
    """Why there is no colour without a card: by plain sRGB, the same lint is off by more than a grade."""
    warm = Camera(width=960, height=1280, tint=(1.0, 0.9, 0.7))
    pixels = np.asarray(images.decode(photo(Scene(specks=0), warm).data))
    height, width, _ = pixels.shape
    lint = linear(pixels[height // 4 : height // 2, width // 3 : 2 * width // 3]).reshape(-1, 3).mean(axis=0)
    white = np.array([0.0193339, 0.1191920, 0.9503041]) @ lint / 1.08883
    luminance = np.array([0.2126729, 0.7151522, 0.0721750]) @ lint
    factor = 0.51 * (21 + 20 * luminance) / (1 + 20 * luminance)
    naive = 70 * factor * (luminance - white)
    measured = float(vision.read(photo(Scene(specks=0), warm).data).plus_b)
    assert abs(naive - 8.8) > 2
    assert abs(measured - 8.8) < 1.8


@pytest.mark.parametrize(
    ("scene", "camera", "code"),
    [
        (Scene(card=False), SMALL, "card_unreadable"),
        (Scene(marks=False), SMALL, "card_not_found"),
        (Scene(), Camera(width=960, height=1280, distance=0.8), "card_not_found"),
        (Scene(), Camera(width=960, height=1280, blur=2.5), "blurred"),
        (Scene(), Camera(width=960, height=1280, exposure=1.3), "over_exposed"),
        (Scene(), Camera(width=960, height=1280, exposure=0.05), "under_exposed"),
        (Scene(), Camera(width=1200, height=1600, distance=2.6), "image_too_small"),
        (Scene(), Camera(width=300, height=400), "image_too_small"),
        (Scene(rd=20, plus_b=3), SMALL, "no_lint"),
    ],
    ids=["no card", "no marks", "cut off", "blurred", "bright", "dark", "far", "tiny", "no lint"],
)
def test_refuses_what_cannot_be_measured(scene: Scene, camera: Camera, code: str) -> None:
    with pytest.raises(Unreadable) as refused:
        vision.read(photo(scene, camera).data)
    assert refused.value.code == code
    assert refused.value.detail


def test_a_covered_patch_is_told() -> None:
    image = Image.open(io.BytesIO(photo().data))
    at = frame.homography(frame.layout().corners, corners_in_picture(SMALL))
    (left, top), (right, bottom) = frame.project(at, np.array([(24.0, 186.0), (98.0, 210.0)]))
    image.paste((120, 110, 100), (int(left), int(top), int(right), int(bottom)))  # a hand over three patches
    output = io.BytesIO()
    image.save(output, "PNG")
    with pytest.raises(Unreadable) as refused:
        vision.read(output.getvalue())
    assert refused.value.code == "card_unreadable"


def test_finds_the_marks_to_a_pixel() -> None:
    grey = np.asarray(images.decode(photo().data).convert("L"))
    marks = frame.marks(grey)[:4]
    true = corners_in_picture(SMALL)
    for x, y in true:
        assert min(np.hypot(mark.x - x, mark.y - y) for mark in marks) < 1.0


@pytest.mark.parametrize(("side", "code"), [(480, "card_unreadable"), (1800, "card_not_found")])
def test_noise_is_refused_before_it_takes_the_reader_s_time(side: int, code: str) -> None:
    noise = np.random.default_rng(side).integers(0, 2, (side, side)).astype(np.uint8) * 255
    data = encoded(Image.fromarray(noise), "PNG")
    refused: list[Unreadable] = []

    def read() -> None:
        with pytest.raises(Unreadable) as caught:
            vision.read(data)
        refused.append(caught.value)

    assert lines_of(frame.__file__, read) < 100 * frame.MOST_CROSSINGS
    assert refused[0].code == code


def test_twice_as_many_lines_are_twice_the_work() -> None:
    random = np.random.default_rng(9)

    def work(lines: int) -> int:
        across = [(x, y, random.uniform(1.5, 4)) for y in range(lines) for x in random.uniform(0, 900, 8)]
        return lines_of(frame.__file__, lambda: frame.clusters(np.array(across)))

    assert work(400) < 2.5 * work(200)


def test_crossings_are_put_together_whatever_lies_between_them() -> None:
    """As if each were compared with everything before it: what is done with is never what would have matched."""
    random = np.random.default_rng(10)
    across = np.array([(x, y, random.uniform(1.5, 9)) for y in range(120) for x in random.uniform(0, 60, y % 4)])
    together: list[list[Any]] = []
    for crossing in across:
        for cluster in together:
            x, y, unit = cluster[-1]
            if abs(crossing[0] - x) < unit and 0 < crossing[1] - y < 2 * unit + 1:
                cluster.append(crossing)
                break
        else:
            together.append([crossing])
    expected = [np.median(np.array(cluster), axis=0) for cluster in together]
    kept = [tuple(at) for at, cluster in zip(expected, together, strict=True) if len(cluster) >= at[2]]
    assert [(mark.x, mark.y, mark.unit) for mark in frame.clusters(across)] == kept
    assert kept


def lines_of(path: str, work: Callable[[], object]) -> int:
    """How many lines of the file `path` are executed by `work`: time that no other process changes."""
    count = 0

    def within(_: FrameType, event: str, __: object) -> Any:
        nonlocal count
        count += event == "line"
        return within

    before = sys.gettrace()
    sys.settrace(lambda called, _, __: within if called.f_code.co_filename == path else None)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def test_a_homography_takes_its_corners_there_and_back() -> None:
    source = np.array([(0, 0), (200, 0), (200, 296), (0, 296)], float)
    target = np.array([(110, 95), (905, 130), (880, 1190), (80, 1150)], float)
    there = frame.homography(source, target)
    assert frame.project(there, source) == pytest.approx(target)
    assert frame.project(np.linalg.inv(there), target) == pytest.approx(source)


def test_a_card_outside_the_picture_calibrates_nothing() -> None:
    far = frame.homography(frame.layout().corners, frame.layout().corners + 5000)
    assert calibrate(np.zeros((100, 100, 3), np.uint8), far, frame.layout()) is None


def test_a_drawn_colour_is_the_one_asked_for() -> None:
    x, y, z = lint_xyz(75.0, 8.8)
    factor = 0.51 * (21 + 0.2 * y) / (1 + 0.2 * y)
    assert (y, 70 * factor * (y / 100 - z / 118.11)) == pytest.approx((75.0, 8.8))
    assert 175 * factor * (x / 98.04 - y / 100) == pytest.approx(0.5)


# Files from anybody


def encoded(image: Image.Image, kind: str) -> bytes:
    output = io.BytesIO()
    image.save(output, kind)
    return output.getvalue()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "image_unreadable"),
        (b"GIF89a" + bytes(100), "image_unreadable"),
        (encoded(Image.new("RGB", (600, 600)), "GIF"), "image_unreadable"),
        (encoded(Image.new("RGB", (600, 600), "white"), "JPEG")[:-400], "image_unreadable"),
        (encoded(Image.new("RGB", (600, 600)), "PNG")[:60], "image_unreadable"),
        (encoded(Image.new("1", (30_000, 30_000)), "PNG"), "image_too_large"),
        (encoded(Image.new("L", (9000, 6000)), "PNG"), "image_too_large"),
        (encoded(Image.new("RGB", (4000, 300)), "PNG"), "image_too_small"),
    ],
    ids=["empty", "no GIF", "a GIF", "half a JPEG", "half a PNG", "a bomb", "too many pixels", "a strip"],
)
def test_refuses_files_that_are_no_photographs(data: bytes, code: str) -> None:
    with pytest.raises(Unreadable) as refused:
        images.decode(data)
    assert refused.value.code == code


def test_brings_large_images_down_and_to_rgb() -> None:
    large = images.decode(encoded(Image.new("RGB", (7000, 5000), (200, 100, 50)), "JPEG"))
    assert max(large.size) < 2 * images.LONG_SIDE
    grey = images.decode(encoded(Image.new("LA", (600, 600)), "PNG"))
    assert (grey.mode, grey.size) == ("RGB", (600, 600))


def test_figures_are_kept_to_two_decimals() -> None:
    reading = vision.read(photo().data)
    assert reading.rd == reading.rd.quantize(Decimal("0.01"))
