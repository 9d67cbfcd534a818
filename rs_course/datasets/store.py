"""Decoded pixels on disk: each image is decoded once, then memory-mapped.

A store is a folder of the cache: ``index.json`` (the rows), ``images.npy`` (uint8 ``[N, H, W, 3]``, one row
per image of all splits; a split that was never asked for stays a hole in the file) and ``ready.npy`` (one
byte per row). Rows are decoded in batches when first needed, and a batch is marked ready only after its
pixels were written, so an interrupted decode resumes where it stopped. A lock keeps two processes from
decoding the same set at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from rs_course import paths
from rs_course.datasets import decoding

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
        key = "\0".join([self.identity, decoding.DECODER, str(image_size), variant])
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
                sizes.add(decoding.image_size(self.container.read(row["file"]), row["file"]))
                bar.update()
        return list(sizes.pop()) if len(sizes) == 1 else None

    def __getstate__(self):
        return {**self.__dict__, "_images": None, "_ready": None}

    def one(self, row: int) -> np.ndarray:
        """Pixels of one image, uint8 ``[H, W, 3]``; decoded afresh where the images differ in size."""
        if self.image_size is None:
            file = self.index["rows"][row]["file"]
            return decoding.decode(self.container.read(file), file)
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
                    decoded = pool.map(
                        decoding.decode, encoded, [files[i] for i in batch], [size] * len(batch)
                    )
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
