"""From encoded bytes to uint8 pixels, once: decoded images are kept on disk and memory-mapped.

What is refused, is refused by what the file says of itself, not by Pillow's mode: that is "RGB" for 16-bit
colours too, of which Pillow keeps the high byte, so that reflectances of 300 to 3000 become 1 to 11.

A :class:`DecodedStore` is a folder of the cache: ``index.json`` (the rows), ``images.npy`` (uint8
``[N, H, W, 3]``, one row per image of all splits; a split that was never asked for stays a hole in the file)
and ``ready.npy`` (one byte per row). Rows are decoded in batches when first needed, and a batch is marked
ready only after its pixels were written, so an interrupted decode resumes where it stopped. A lock keeps two
processes from decoding the same set at once.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from rs_course import paths

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


_BATCH = 256


def progress_bar(total: int, what: str, *, minimum: int = 500) -> Any:
    """A tqdm bar for long work; silent for short work and where no terminal or notebook shows it.

    A notebook would store the bar among its outputs, so there only work of about a minute shows one.
    """
    from tqdm.auto import tqdm

    in_notebook = "ipykernel" in sys.modules
    quiet = total < (3000 if in_notebook else minimum)
    shown = False if in_notebook else None  # None: tqdm asks whether there is a terminal
    return tqdm(total=total, desc=what, unit="image", disable=True if quiet else shown, leave=False)


def rows_of(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """``images[rows]``: a view where the rows are consecutive, otherwise a copy."""
    n = len(rows)
    if n and rows[-1] - rows[0] == n - 1 and (n == 1 or (np.diff(rows) == 1).all()):
        return images[rows[0] : rows[0] + n]
    return images[rows]


class DecodedStore:
    """Pixels of a container through the cache.

    Args:
        container: Where the encoded images lie.
        build_index: Called without arguments when the cache has no index yet.
        image_size: ``(height, width)`` to resize to, or ``None``.
        variant: Anything else that the index depends on (part of the cache key).
    """

    def __init__(self, container, build_index, *, image_size=None, variant: str = ""):
        self.container = container
        self.identity = container.identity()
        key = "\0".join([self.identity, DECODER, str(image_size), variant])
        self.folder = paths.cache_dir() / "decoded" / hashlib.sha256(key.encode()).hexdigest()[:20]
        if not (self.folder / "index.json").exists():
            self._create(build_index(), image_size)
        self.index = json.loads((self.folder / "index.json").read_text(encoding="utf-8"))
        self.image_size = self.index["image_size"]
        self._images: Any = None
        self._ready: Any = None

    def _create(self, index: dict, image_size):
        index = {**index, "image_size": list(image_size) if image_size else self._common_size(index["rows"])}
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(dir=self.folder.parent, prefix="building-"))
        try:
            (building / "index.json").write_text(json.dumps(index, default=str), encoding="utf-8")
            if index["image_size"]:
                n = len(index["rows"])
                shape = (n, *index["image_size"], 3)
                np.lib.format.open_memmap(building / "images.npy", "w+", np.uint8, shape)
                np.save(building / "ready.npy", np.zeros(n, np.uint8))
            try:
                os.rename(building, self.folder)
            except OSError:  # another process was faster: its store is the same
                if not (self.folder / "index.json").exists():
                    raise
        finally:
            shutil.rmtree(building, ignore_errors=True)

    def _common_size(self, rows):
        """The size that all images share, or None; an unreadable image is found here, by its header."""
        sizes = set()
        order = sorted(rows, key=lambda row: self.container.position(row["file"]))
        with progress_bar(len(order), "reading image headers", minimum=2000) as bar:
            for row in order:
                sizes.add(image_size(self.container.read(row["file"]), row["file"]))
                bar.update()
        return list(sizes.pop()) if len(sizes) == 1 else None

    def __getstate__(self):
        return {**self.__dict__, "_images": None, "_ready": None}

    def one(self, row: int) -> np.ndarray:
        """Pixels of one image, uint8 ``[H, W, 3]``; decoded afresh where the images differ in size."""
        if self.image_size is None:
            file = self.index["rows"][row]["file"]
            return decode(self.container.read(file), file)
        return self.take(np.array([row]))[0]

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Pixels of several images, uint8 ``[n, H, W, 3]``: a memory-mapped view of consecutive rows."""
        if self._images is None:
            self._images = np.load(self.folder / "images.npy", mmap_mode="r")
            self._ready = np.load(self.folder / "ready.npy", mmap_mode="r")
        if not self._ready[rows].all():
            self._decode(rows)
        return rows_of(self._images, rows)

    def _decode(self, rows: np.ndarray):
        from filelock import FileLock

        with FileLock(self.folder / "lock"):
            images = np.load(self.folder / "images.npy", mmap_mode="r+")
            ready = np.load(self.folder / "ready.npy", mmap_mode="r+")
            pending = np.unique(rows[ready[rows] == 0])
            self._check_disk(len(pending))
            files = [self.index["rows"][row]["file"] for row in pending]
            order = sorted(range(len(pending)), key=lambda i: self.container.position(files[i]))
            size = tuple(self.image_size)
            workers = min(4, os.cpu_count() or 1)
            with ThreadPoolExecutor(workers) as pool, progress_bar(len(order), "decoding") as bar:
                for start in range(0, len(order), _BATCH):
                    batch = order[start : start + _BATCH]
                    encoded = [self.container.read(files[i]) for i in batch]
                    decoded = pool.map(decode, encoded, [files[i] for i in batch], [size] * len(batch))
                    for i, pixels in zip(batch, decoded, strict=True):
                        images[pending[i]] = pixels
                    images.flush()
                    ready[pending[batch]] = 1
                    ready.flush()
                    bar.update(len(batch))

    def _check_disk(self, n: int):
        needed = n * 3 * self.image_size[0] * self.image_size[1]
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise OSError(
                f"Decoding needs {needed / 1e9:.1f} GB in {self.folder.parent}, {free / 1e9:.1f} GB are "
                "free: make room, take a smaller size=, or set RS_COURSE_CACHE to another disk."
            )
