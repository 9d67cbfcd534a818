"""``load``: from a name or a path to a :class:`rs_course.datasets.Dataset`; and one real scene that needs no
network.

Archives of published collections describe themselves in their own ways: split lists, caption files, names
that carry the class.

The scene is the sample image of the package ``spyndex`` (Montero et al.,
github.com/awesome-spectral-indices/spyndex, MIT licence). Its authors give the four bands of 10 m and say
neither where nor when it was taken, so neither is guessed here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from operator import index as as_int
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_course import registry
from rs_course.datasets import index, simulated, tables
from rs_course.datasets.containers import open_container
from rs_course.datasets.decoding import DecodedStore
from rs_course.datasets.record import Dataset

if TYPE_CHECKING:
    from rs_course.registry import Entry


_SPLITS = ("train", "val", "test", "all")
_ORIGINS = ("real", "simulated", "generated")


def load(
    name_or_folder: str | Path,
    split: str = "train",
    *,
    size: int | None = None,
    seed: int = 0,
    image_size: int | tuple[int, int] | None = None,
    origin: str = "real",
    workers: int = 1,
) -> Dataset:
    """Load a data set; the first call decodes or renders it into the cache, later calls map it into memory.

    Args:
        name_or_folder: ``"simulated"``; a fetched data set (``"eurosat"``, ``"resisc45"``,
            ``"ucm-captions"``, ``"rsicd"``); or a path: a folder of class folders, a tar or zip of one
            (layouts: see :mod:`rs_course.datasets.index`), or a generated set (a folder of Parquet shards).
        split: "train", "val", "test", or "all". Official splits are used where the collection has them,
            otherwise 60/20/20 per class by the hash of the file name. A generated set has only "train".
        size: Number of records in all, class-balanced; ``size=100`` is the beginning of ``size=200`` for one
            ``seed``. ``None`` takes everything in the collection's order (1,000 / 200 / 500 scenes of the
            simulated Earth).
        seed: Which draw.
        image_size: Resize every image to this (one number for a square, or (height, width)), bicubic with
            antialiasing. Without it, images of mixed size stay as they are, and ``data.images`` says so.
        origin: First word of the provenance of a folder or archive: "real", "simulated" or "generated".
            (A generated set and the simulated Earth know theirs.)
        workers: Processes that render the simulated Earth.

    Returns:
        The data set; see :mod:`rs_course.datasets.record` for the fields of ``data[i]``.

    Raises:
        FileNotFoundError: No such name or path, or a data set that was not fetched (the message says how).
        ValueError: Unknown or missing split, impossible size, damaged archive, unreadable image.
    """
    if split not in _SPLITS:
        raise ValueError(f"Unknown split {split!r}: use train, val, test or all.")
    if origin not in _ORIGINS:
        raise ValueError(f"Unknown origin {origin!r}: use real, simulated or generated.")
    if name_or_folder == "simulated":
        if image_size is not None:
            raise ValueError(
                "The simulated Earth has tiles of 64×64 pixels: resize them yourself, without image_size=."
            )
        return simulated.load(split, size, seed, workers=workers)
    image_size = _height_and_width(image_size)
    path = Path(name_or_folder).expanduser()
    entry = registry.find(name_or_folder, kind="dataset")
    if entry is not None and (entry.local_files() or not path.exists()):
        store = open_store(entry, registry.require(entry.name), image_size)
        source, title = entry.name, entry.title
    else:
        if not path.exists():
            raise FileNotFoundError(
                f"There is no data set or path {str(name_or_folder)!r}: use simulated, "
                f"{', '.join(registry.names('dataset'))}, or the path of an image folder, tar, zip or "
                "generated set."
            )
        store = _open_path(path, image_size)
        known = registry.identify(store.identity)  # a registered archive under any name
        source, title = str(path), known.title if known else path.name
    return _select(store, split, size, seed, source=source, title=title, origin=origin)


def _height_and_width(image_size) -> tuple[int, int] | None:
    if image_size is None:
        return None
    try:
        sides = image_size if isinstance(image_size, Sequence | np.ndarray) else (image_size, image_size)
        size = tuple(as_int(side) for side in sides)  # NumPy's integers are pixels, too
    except TypeError:
        size = ()
    if len(size) != 2 or min(size) < 1:
        raise ValueError(
            f"image_size={image_size} is not possible: give a number of pixels or (height, width)."
        )
    return size


def _open_path(path: Path, image_size) -> DecodedStore:
    shards = sorted(path.glob("*.parquet")) if path.is_dir() else [path] if path.suffix == ".parquet" else []
    shards = [one for one in shards if one.name.lower() not in index.TABLES]  # which describe images
    if shards:
        parquet = tables.ParquetImages(shards)
        return DecodedStore(parquet, lambda: tables.generated_index(parquet), image_size=image_size)
    container = open_container(path)
    return DecodedStore(container, lambda: index.build(container), image_size=image_size)


def _select(store: DecodedStore, split: str, size, seed, *, source: str, title: str, origin: str) -> Dataset:
    table = store.index["rows"]
    rows = [i for i, row in enumerate(table) if split in ("all", row["split"])]
    if not rows:
        present = [name for name in ("train", "val", "test") if any(row["split"] == name for row in table)]
        raise ValueError(
            f"{title} has no split {split!r}, only {' and '.join(present)}: part the training set with "
            "datasets.stratified_split(data, (0.8, 0.2))."
        )
    badge = _generated_badge(table) if "provenance" in table[0] else f"{origin} · {title} · {split}"
    names = {"source": source, "title": title, "provenance": badge}
    data = Dataset(store, np.array(rows), table, classes=store.index["classes"], **names)
    return data if size is None else data.subset(size=size, seed=seed)


def _generated_badge(table) -> str:
    badges = {row["provenance"] for row in table}
    return badges.pop() if len(badges) == 1 else f"generated · {len(badges)} runs"


def open_store(entry: Entry, files: list[Path], image_size: tuple[int, int] | None) -> DecodedStore:
    """Pixels and index of a fetched data set.

    Args:
        entry: Its registry entry.
        files: What :func:`rs_course.registry.require` returned: the images first, then what describes them.
        image_size: ``(height, width)`` to resize to, or ``None`` for the entry's own choice.
    """
    image_size = image_size or entry.image_size
    if files[0].suffix == ".parquet":
        shards = tables.ParquetImages(files)
        return DecodedStore(shards, lambda: rsicd_index(shards), image_size=image_size)
    container = open_container(files[0])
    described = [file for file in files[1:] if file.suffix in (".txt", ".json")]

    def build():
        captions = [file for file in described if file.suffix == ".json"]
        lists = {
            file.stem.rsplit("-", 1)[-1]: set(file.read_text(encoding="utf-8").split())
            for file in described
            if file.suffix == ".txt"
        }
        told = ucm_captions(container, captions[0]) if captions else None
        return index.build(container, described=told, split_lists=lists)

    variant = " ".join(f"{file.name}:{file.stat().st_size}" for file in described)
    return DecodedStore(container, build, image_size=image_size, variant=variant)


def ucm_captions(container: Any, file: Path) -> dict[str, dict]:
    """Captions and split of each UC Merced image.

    UCM-captions numbers the images 1.tif to 2100.tif: class by class in alphabetical order, a hundred each,
    so ``agricultural00.tif`` is 1 and ``airplane00.tif`` is 101.

    Returns:
        ``{path in the container: {"captions", "split", "ucm_id"}}``.
    """
    described = json.loads(file.read_text(encoding="utf-8"))["images"]
    by_number = {int(Path(image["filename"]).stem): image for image in described}
    images = [name for name in container.names if name.lower().endswith(".tif")]
    classes = sorted({Path(name).parent.name for name in images})
    result = {}
    for name in images:
        within = int(re.findall(r"\d+$", Path(name).stem)[0])
        number = 100 * classes.index(Path(name).parent.name) + within + 1
        image = by_number[number]
        result[name] = {
            "captions": [sentence["raw"] for sentence in image["sentences"]],
            "split": image["split"],
            "ucm_id": number,
        }
    return result


def rsicd_index(container: tables.ParquetImages) -> dict:
    """Index of RSICD's Parquet files; the class is the name before the number in a file name such as
    ``rsicd_images/airport_12.jpg``, and files without one are unlabelled."""
    splits = {"train": "train", "valid": "val", "test": "test"}
    rows = []
    for name, row in container.columns("filename", "captions"):
        stem = Path(row["filename"]).stem.rstrip("0123456789").rstrip("_")
        rows.append({
            "file": name, "id": row["filename"], "label": stem.lower() or None,
            "split": splits[name.split("-")[0]], "metadata": None,
            "captions": [caption.strip() for caption in row["captions"]],
        })  # fmt: skip
    classes = sorted({row["label"] for row in rows if row["label"]})
    for row in rows:
        row["label"] = classes.index(row["label"]) if row["label"] else -1
    rows.sort(key=lambda row: (("train", "val", "test").index(row["split"]), row["id"]))
    return {"classes": classes, "rows": rows}


WHITE = 2_500  # reflectance × 10,000 that is shown as 255; 8 of 100,000 values of this scene are brighter


@dataclass(frozen=True)
class Scene:
    """A scene with its spectral bands.

    Attributes:
        image: True colour, uint8 ``[H, W, 3]``: red, green and blue, linear from 0 to :data:`WHITE`.
        bands: B02, B03, B04 and B08 (blue, green, red, near infrared), reflectance × 10,000, uint16
            ``[4, H, W]``.
        metadata: Names of the bands, metres per pixel, source; ``"unknown"`` where nobody says.
        licence: The licence under which its authors give it.
    """

    image: np.ndarray
    bands: np.ndarray
    metadata: dict[str, object]
    licence: str

    @property
    def provenance(self) -> str:
        """For badges: real, the satellite, the source."""
        return f"real · {self.metadata['satellite']} · {self.metadata['source']}"

    def cutouts(self, step: int = 64, size: int = 64) -> np.ndarray:
        """Square parts of the image, uint8 ``[rows, columns, size, size, 3]``; a smaller step overlaps them.

        Args:
            step: Pixels from one part to the next, down and across.
            size: Pixels of a side.
        """
        parts = np.lib.stride_tricks.sliding_window_view(self.image, (size, size), (0, 1))[::step, ::step]
        return np.ascontiguousarray(np.moveaxis(parts, 2, -1))


def real_scene() -> Scene:
    """The real scene of 300×300 pixels at 10 m: forest, bare and ripe fields, dirt roads, a village.

    Raises:
        ModuleNotFoundError: The package ``spyndex`` is not installed.
    """
    package = find_spec("spyndex")
    if package is None or package.origin is None:
        raise ModuleNotFoundError(
            "The real scene comes with the package spyndex, which is not here: `pip install spyndex`.",
            name="spyndex",
        )
    # The file is read without importing the package, whose own reader wants xarray and pandas.
    file = Path(package.origin).parent / "data" / "S2_10m.json"
    bands = np.asarray(json.loads(file.read_text(encoding="utf-8")), dtype=np.uint16)
    shown = np.clip(bands[[2, 1, 0]] * (255 / WHITE), 0, 255).round().astype(np.uint8)
    metadata = {
        "bands": ("B02", "B03", "B04", "B08"), "gsd": 10.0, "satellite": "Sentinel-2", "date": "unknown",
        "place": "unknown", "source": f"spyndex {version('spyndex')}",
    }  # fmt: skip
    return Scene(np.ascontiguousarray(shown.transpose(1, 2, 0)), bands, metadata, "MIT")
