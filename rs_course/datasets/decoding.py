"""From encoded bytes to uint8 pixels, and the reverse question: how large is this image?"""

from __future__ import annotations

import io

import numpy as np
import PIL
from PIL import Image, UnidentifiedImageError

# Part of every cache key: another decoder may differ by a grey level, so it decodes afresh.
DECODER = f"1-pillow{PIL.__version__}"

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")

# Modes whose conversion to 8-bit RGB keeps the picture; 16-bit and float images need a stretch that we must
# not guess.
_EIGHT_BIT = ("RGB", "L", "P", "RGBA", "LA", "PA", "CMYK", "YCbCr", "1", "RGBX")


def image_size(data: bytes, name: str) -> tuple[int, int]:
    """Height and width from the header alone.

    Raises:
        ValueError: Not a readable 8-bit image; the message names the file.
    """
    with _open(data, name) as image:
        return image.height, image.width


def decode(data: bytes, name: str, size: tuple[int, int] | None = None) -> np.ndarray:
    """Decode an image to RGB.

    Args:
        data: The encoded file.
        name: The file's name, for the message.
        size: ``(height, width)`` to resize to (bicubic with antialiasing, Pillow's), or ``None`` to keep the
            size.

    Returns:
        uint8 ``[H, W, 3]``.

    Raises:
        ValueError: Not a readable 8-bit image; the message names the file.
    """
    with _open(data, name) as image:
        try:
            image = image.convert("RGB")
        except (OSError, SyntaxError, ValueError) as error:
            raise ValueError(_unreadable(name, error)) from error
        if size is not None and (image.height, image.width) != tuple(size):
            image = image.resize((size[1], size[0]), Image.Resampling.BICUBIC)
        return np.asarray(image)


def _open(data: bytes, name: str) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(_unreadable(name, error)) from error
    if image.mode not in _EIGHT_BIT:
        raise ValueError(
            f"{name} has samples of type {image.mode}, not 8 bits: stretch it to 0..255 and save it as PNG "
            "first."
        )
    return image


def _unreadable(name: str, error: Exception) -> str:
    unknown = isinstance(error, UnidentifiedImageError)  # Pillow's own message names a memory address
    reason = "no known image format" if unknown else str(error).split("\n")[0] or "it ends early"
    return f"{name} cannot be read as an image ({reason}): replace or remove it."
