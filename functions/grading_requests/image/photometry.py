"""Colour by the card in the frame: from a camera's pixels to XYZ under illuminant C."""

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from .frame import Floats, Layout, project

PROBES = 9
"""Points across a patch, on a square grid within the middle of it."""
MIDDLE = 0.6
CLIPPED_BELOW, CLIPPED_FROM = 4, 250
LEAST_PATCHES = 12
"""Patches that a fit rests on at least."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """`matrix` takes linear RGB of 0 to 1 to XYZ of 0 to 100: XYZ = matrix @ rgb."""

    matrix: Floats
    residual: float
    """Root mean square over the patches, in XYZ of 0 to 100."""
    brightest: float
    """The white patch's largest channel, of 0 to 255: 255 where it is clipped."""


def calibrate(pixels: NDArray[np.uint8], placement: Floats, frame: Layout) -> Calibration | None:
    """Fit the card as it lies under `placement`; None if that is not within the image.

    The camera's response is taken to be sRGB, and its primaries any: a 3 x 3 matrix by least squares over 24 patches
    (Finlayson, Mackiewicz and Hurlbert 2015, section II).
    """
    offsets = np.linspace(-0.5, 0.5, PROBES) * MIDDLE * frame.patch
    grid = np.stack(np.meshgrid(offsets, offsets), axis=-1).reshape(-1, 2)
    points = (frame.centres[:, None, :] + grid[None]).reshape(-1, 2)
    at = np.rint(project(placement, points)).astype(int)
    height, width, _ = pixels.shape
    if np.any(at < 0) or np.any(at[:, 0] >= width) or np.any(at[:, 1] >= height):
        return None
    probes = pixels[at[:, 1], at[:, 0]].reshape(len(frame.centres), -1, 3)
    patches, levels = linear(probes).mean(axis=1), probes.mean(axis=1)
    # A patch outside of what the file can hold is cut off at 0 or 255, and would bend the fit.
    usable = np.all((levels > CLIPPED_BELOW) & (levels < CLIPPED_FROM), axis=1)
    if np.count_nonzero(usable) < LEAST_PATCHES:
        usable[:] = True  # hopelessly exposed: whoever looks at `brightest` says so
    solved = cast(Floats, np.linalg.lstsq(patches[usable], frame.xyz[usable], rcond=None)[0])
    left_over: Floats = patches[usable] @ solved - frame.xyz[usable]
    white = probes[frame.white].mean(axis=0)
    return Calibration(solved.T, float(np.sqrt(np.mean(left_over**2))), float(white.max()))


def linear(pixels: NDArray[np.uint8]) -> Floats:
    """sRGB of 0 to 255 as linear light of 0 to 1 (IEC 61966-2-1)."""
    return _LINEAR[pixels]


_CODED = np.arange(256) / 255
_LINEAR: Floats = np.where(_CODED <= 0.04045, _CODED / 12.92, ((_CODED + 0.055) / 1.055) ** 2.4)
