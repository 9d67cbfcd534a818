"""From encoded bytes to uint8 pixels, and the reverse question: how large is this image?

What is refused, is refused by what the file says of itself, not by Pillow's mode: that is "RGB" for 16-bit
colours too, of which Pillow keeps the high byte, so that reflectances of 300 to 3000 become 1 to 11.
"""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

# Part of every cache key: another decoder may differ by a grey level, so it decodes afresh.
DECODER = f"2-pillow{PIL.__version__}"

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")

# Modes whose conversion to 8-bit RGB keeps the picture; 16-bit and float images need a stretch that we must
# not guess.
_EIGHT_BIT = ("RGB", "L", "P", "RGBA", "LA", "PA", "CMYK", "YCbCr", "1", "RGBX", "RGBa", "La", "LAB", "HSV")
_STRETCH = "stretch it to 0..255 and save it as PNG first"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BITS, _SAMPLES, _FORMAT, _SUBFILE = 258, 277, 339, 254  # tags of TIFF 6.0
# EXIF orientation -> what turns the picture upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def image_size(data: bytes, name: str) -> tuple[int, int]:
    """Height and width of the upright picture, from the header alone.

    Raises:
        ValueError: Not a readable 8-bit image; the message names the file.
    """
    with _open(data, name) as image:
        # Pillow turns a TIFF by itself. A PNG would be decoded to look for its orientation.
        looks = image.format != "PNG" or b"eXIf" in data or b"Raw profile type exif" in data
        turned = image.format != "TIFF" and looks and _orientation(image) >= 5
        return (image.width, image.height) if turned else (image.height, image.width)


def decode(data: bytes, name: str, size: tuple[int, int] | None = None) -> np.ndarray:
    """Decode an image to RGB, upright.

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
            image = _turned(image).convert("RGB")
        except Exception as error:  # a decoder meets damage with whatever error it runs into
            raise ValueError(_unreadable(name, error)) from error
        if size is not None and (image.height, image.width) != tuple(size):
            image = image.resize((size[1], size[0]), Image.Resampling.BICUBIC)
        return np.asarray(image)


def upright(image: Image.Image, name: str) -> Image.Image:
    """A picture that somebody opened with Pillow, turned as its EXIF orientation says.

    Raises:
        ValueError: More than 8 bits a sample, several pictures in one file, or damage.
    """
    _refuse_deep(image, name)
    try:
        return _turned(image)
    except Exception as error:
        raise ValueError(_unreadable(name, error)) from error


def _open(data: bytes, name: str) -> Image.Image:
    if data[:4] in _TIFF:
        _refuse_tiff(data, name)
    try:
        image = Image.open(io.BytesIO(data))
    except Image.DecompressionBombError:
        raise ValueError(f"{name} has more pixels than Pillow opens at once: cut it into tiles.") from None
    except Exception as error:
        raise ValueError(_unreadable(name, error)) from error
    _refuse_deep(image, name)
    return image


def _refuse_tiff(data: bytes, name: str) -> None:
    """Say what is in a TIFF that has more bands or bits than a picture; Pillow knows no such image."""
    try:
        tags = TiffImagePlugin.ImageFileDirectory_v2(data[: 16 if b"+" in data[:4] else 8])
        stream = io.BytesIO(data)
        stream.seek(tags.next)
        tags.load(stream)
        bands, bits = int(tags.get(_SAMPLES, 1)), max(tags.get(_BITS, (1,)))
        kinds = tags.get(_FORMAT, (1,))
    except Exception:  # damage, about which Pillow has a word
        return
    kind = {2: "signed ", 3: "floating-point "}.get(kinds[0] if kinds else 1, "")
    if bands > 4:
        raise ValueError(
            f"{name} is a TIFF with {bands} bands of {bits} {kind}bits: choose three of them (red, green, "
            "blue), stretch them to 0..255 and save them as PNG first."
        )
    if bits > 8 or kind:
        raise ValueError(f"{name} has samples of {bits} {kind}bits, not of 8: {_STRETCH}.")


def _refuse_deep(image: Image.Image, name: str) -> None:
    if image.mode not in _EIGHT_BIT:
        raise ValueError(f"{name} has samples of type {image.mode}, not 8 bits: {_STRETCH}.")
    if (bits := _bits(image)) > 8:
        raise ValueError(f"{name} has samples of {bits} bits, not of 8: {_STRETCH}.")
    if (count := _pictures(image)) > 1:
        raise ValueError(
            f"{name} holds {count} pictures (pages, frames), and which one is meant is not known: save that "
            "one as a file of its own."
        )


def _bits(image: Image.Image) -> int:
    """Bits per sample as the file states them; 8 where nothing tells."""
    if (tags := getattr(image, "tag_v2", None)) is not None:
        return max(tags.get(_BITS, (8,)), default=8)
    tiles, file = getattr(image, "tile", []), getattr(image, "filename", "")
    if not tiles and image.format == "PNG" and file and Path(file).is_file():
        with Image.open(file) as again:  # once loaded, an image forgets its raw mode
            tiles = again.tile
    deep = [found for tile in tiles if (found := re.search(r";(1[0-6])", str(tile[3])))]
    return int(deep[0][1]) if deep else 8


def _pictures(image: Image.Image) -> int:
    """Pictures in the file; smaller copies and masks of the first one, and the second shot of a camera's
    MPO file, do not count.
    """
    count = getattr(image, "n_frames", 1)
    if count == 1 or image.format == "MPO":
        return 1
    if image.format != "TIFF":
        return count
    assert isinstance(image, TiffImagePlugin.TiffImageFile)
    here, full = image.tell(), 0
    for page in range(count):
        image.seek(page)
        full += not image.tag_v2.get(_SUBFILE, 0) & 0b101
    image.seek(here)
    return full


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # damaged EXIF says nothing; the picture is still a picture
        return 1


def _turned(image: Image.Image) -> Image.Image:
    image.load()  # which turns a TIFF and removes its tag
    turn = _UPRIGHT.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def _unreadable(name: str, error: Exception) -> str:
    unknown = isinstance(error, UnidentifiedImageError)  # Pillow's own message names a memory address
    reason = "no known image format" if unknown else str(error).split("\n")[0] or "it ends early"
    return f"{name} cannot be read as an image ({reason}): replace or remove it."
