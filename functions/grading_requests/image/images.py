"""Decoding images from anybody: two formats, bounded pixels, nothing but pixels kept."""

import io
import warnings

from PIL import Image

from ..readings import Unreadable

FORMATS = ("JPEG", "PNG")
MAX_PIXELS = 50_000_000
"""More than a telephone's camera makes; decoded they take 150 MB."""
MIN_SIDE = 480
"""Pixels of the shorter side, below which no window is large enough."""
LONG_SIDE = 1800
"""Pixels of the longer side that the image is brought down to: its window then is about twice the model's square."""


def decode(data: bytes) -> Image.Image:
    """The image in RGB, no larger than needed.

    Raises:
        Unreadable: it is neither JPEG nor PNG, broken, or too small or large.
    """
    try:
        with warnings.catch_warnings():
            # Pillow only warns of what is between its limit and twice that; ours is told below.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            _check_size(image.width, image.height)
            # A JPEG is decoded at a half, a quarter or an eighth of its size at a fraction of the cost.
            image.draft("RGB", (LONG_SIDE, LONG_SIDE))
            image.load()
            image = image.convert("RGB")
    except Image.DecompressionBombError:
        raise _too_large() from None
    except (OSError, SyntaxError, ValueError, EOFError):  # what Pillow's decoders raise for broken files
        detail = "The file is not a complete JPEG or PNG image. Take the photograph again"
        raise Unreadable("image_unreadable", detail) from None
    factor = max(image.size) // LONG_SIDE
    return image.reduce(factor) if factor > 1 else image


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise _too_large()
    if min(width, height) < MIN_SIDE:
        detail = f"The image is {width} x {height} pixels: its shorter side needs at least {MIN_SIDE}"
        raise Unreadable("image_too_small", detail)


def _too_large() -> Unreadable:
    return Unreadable("image_too_large", f"An image may have at most {MAX_PIXELS // 1_000_000} million pixels")
