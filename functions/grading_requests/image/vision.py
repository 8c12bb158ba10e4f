"""From the bytes of a photograph to figures, or to the reason why there are none."""

from decimal import Decimal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..readings import Reading, Unreadable
from ..standards.policy import ImageLimits, policy
from . import frame, images
from .frame import Floats, Layout
from .inference import Figures, interpreter
from .model import SIDE
from .photometry import Calibration, calibrate


def read(data: bytes) -> Reading:
    """The figures of the lint in the window of the sampling frame. The same bytes give the same figures.

    Raises:
        Unreadable: there is no frame with its card, or the photograph is not fit for measuring.
    """
    limits = policy().image
    image = images.decode(data)
    pixels = np.asarray(image)
    grey = np.asarray(image.convert("L"))
    layout = frame.layout()
    placement, calibration = _find(pixels, grey, layout, limits)
    square = _window(image, placement, layout, limits)
    _check_exposure(square, calibration, limits)
    _check_sharpness(grey, placement, layout, limits)
    figures = interpreter().run(square, calibration.matrix, limits.trash_below_y)
    _check_lint(figures, limits)
    quarters = figures.trash_area.ravel()
    spread = float(quarters.std(ddof=1)) / np.sqrt(len(quarters))
    return Reading(
        rd=_decimal(figures.rd),
        plus_b=_decimal(figures.plus_b),
        trash_area_pct=_decimal(float(quarters.mean())),
        trash_area_uncertainty=_decimal(max(spread, limits.least_trash_uncertainty)),
        trash_particles=max(0, round(figures.particles)),
        card_residual=_decimal(calibration.residual),
    )


def _find(
    pixels: NDArray[np.uint8], grey: NDArray[np.uint8], layout: Layout, limits: ImageLimits
) -> tuple[Floats, Calibration]:
    """Where the frame lies and what its card says: of all ways to lay it on four marks, the one that fits the card best."""
    marks = frame.marks(grey)
    if len(marks) < 4:
        raise frame.no_card(f"{len(marks)} of the four corner marks of the sampling board are visible")
    fits = [(fit, at) for at in frame.placements(marks) if (fit := calibrate(pixels, at, layout)) is not None]
    if not fits:
        raise frame.no_card("the corner marks are not placed as on a sampling board")
    calibration, placement = min(fits, key=lambda fit: fit[0].residual)
    if calibration.residual > limits.largest_card_residual and calibration.brightest < limits.over_exposed_from:
        detail = "The colour card is covered, shaded or not the 24-patch card. Uncover and light the card evenly"
        raise Unreadable("card_unreadable", detail)
    return placement, calibration


def _window(image: Image.Image, placement: Floats, layout: Layout, limits: ImageLimits) -> NDArray[np.uint8]:
    """The square of lint, cut out and straightened."""
    x, y, side = layout.window
    corners = np.array([(x, y), (x + side, y), (x + side, y + side), (x, y + side)])
    seen = frame.project(placement, corners)
    edges = np.roll(seen, -1, axis=0) - seen
    shortest = float(np.hypot(edges[:, 0], edges[:, 1]).min())
    if shortest < limits.least_window_pixels:
        detail = f"The window is {shortest:.0f} pixels wide and needs {limits.least_window_pixels:.0f}: go closer"
        raise Unreadable("image_too_small", detail)
    target = np.array([(0, 0), (SIDE, 0), (SIDE, SIDE), (0, SIDE)], float)
    back = frame.homography(target, seen)
    coefficients = (back / back[2, 2]).ravel()[:8].tolist()
    cut = image.transform((SIDE, SIDE), Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR)
    return np.asarray(cut)


def _check_exposure(square: NDArray[np.uint8], calibration: Calibration, limits: ImageLimits) -> None:
    brightest: NDArray[np.uint8] = square.max(axis=2)
    clipped = np.count_nonzero(brightest >= limits.over_exposed_from) / brightest.size
    if calibration.brightest >= limits.over_exposed_from or clipped > limits.over_exposed_share:
        raise Unreadable(
            "over_exposed", "The lint or the white patch is too bright. Use less light or a shorter exposure"
        )
    if calibration.brightest < limits.under_exposed_white:
        raise Unreadable("under_exposed", "The white patch is too dark. Use more light or a longer exposure")


def _check_sharpness(grey: NDArray[np.uint8], placement: Floats, layout: Layout, limits: ImageLimits) -> None:
    """The steepest step between neighbouring pixels across the marks, as a share of the step from black to white.

    A sharp edge takes one or two pixels: 0.5 to 1. Blurred with a standard deviation of s pixels it is 0.4 / s.
    """
    steepest: list[float] = []
    for corner in layout.corners:
        reach = 4.5 * layout.module
        box = frame.project(
            placement, corner + np.array([(-reach, -reach), (reach, reach), (-reach, reach), (reach, -reach)])
        )
        left, top = np.maximum(np.floor(box.min(axis=0)).astype(int), 0)
        right, bottom = np.ceil(box.max(axis=0)).astype(int) + 1
        mark = grey[top:bottom, left:right].astype(float)
        contrast = float(np.ptp(mark)) or 1.0
        steps = np.concatenate([np.abs(np.diff(mark, axis=0)).ravel(), np.abs(np.diff(mark, axis=1)).ravel()])
        steepest.append(float(np.quantile(steps, 0.98)) / contrast)
    if float(np.median(steepest)) < limits.least_sharpness:
        raise Unreadable("blurred", "The photograph is blurred. Hold the camera still and let it focus on the lint")


def _check_lint(figures: Figures, limits: ImageLimits) -> None:
    low, high = limits.lint_y
    if float(figures.trash_area.mean()) > limits.largest_trash_area or not low <= figures.rd <= high:
        raise Unreadable("no_lint", "The window does not show lint. Fill the window with lint")


def _decimal(value: float) -> Decimal:
    return Decimal(f"{value:.2f}")
