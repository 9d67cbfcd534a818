"""The simulated Earth as a data set: scenes rendered once into the cache, then memory-mapped.

Record k of a split is ``scene(CLASSES[k % 10], start + 100,000 · draw + k // 10)``, where ``start`` belongs
to the split and ``draw`` is the ``seed`` given to ``load``. No place is in two splits:

======  ==============================
split   scene seeds
======  ==============================
train   0 … 999,999,999
val     1,000,000,000 … 1,999,999,999
test    2,000,000,000 … 2,999,999,999
======  ==============================

Classes take turns, so the first ``size`` records are class-balanced and contained in every larger size, and a
larger size renders only what is missing. The cache is keyed by the simulator's ``VERSION`` and source.

:func:`class_prompt` is the sentence that stands for a class: what the minis were trained to answer. One table
of phrases serves both collections, because the simulator has EuroSAT's ten classes. For EuroSAT the prompt
carries Text2Earth's resolution token: ``L_GOOGLE_LEVEL_`` means a ground resolution of 2^(17 - L) metres per
pixel (README of Chen-Yang-Liu/Text2Earth), so L = 14, 8 m, is the level nearest to Sentinel-2's 10 m.
"""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from rs_course import paths
from rs_course.datasets.decoding import progress_bar, rows_of
from rs_course.datasets.record import Dataset

SPLIT_START = {"train": 0, "val": 1_000_000_000, "test": 2_000_000_000}
DEFAULT_SIZE = {"train": 1_000, "val": 200, "test": 500}
SCENES_PER_CLASS = 100_000  # of one draw; the next draw's seeds begin after them
DRAWS = 10_000
TILE = (64, 64, 3)
_BATCH = 50


def load(split: str, size: int | None, seed: int, *, workers: int = 1) -> Dataset:
    """Records of the simulated Earth; rendered where the cache does not have them.

    Args:
        split: "train", "val" or "test".
        size: Number of records; ``None`` takes 1,000 / 200 / 500.
        seed: Which draw of places, 0 to 9,999; different draws share no place.
        workers: Processes that render.

    Raises:
        ValueError: Unknown split, or a size or seed out of range.
    """
    from rs_course import simulated_earth

    if split not in SPLIT_START:
        raise ValueError(f"The simulated Earth has no split {split!r}: use train, val or test.")
    size = DEFAULT_SIZE[split] if size is None else size
    classes = tuple(simulated_earth.CLASSES)
    limit = SCENES_PER_CLASS * len(classes)
    if not 0 <= size <= limit:
        raise ValueError(
            f"size={size} is not possible: one draw of the simulated Earth has 0 to {limit:,} records."
        )
    if not 0 <= seed < DRAWS:
        raise ValueError(
            f"seed={seed} is not possible: the simulated Earth has the draws 0 to {DRAWS - 1:,}."
        )
    store = RenderedStore(split, seed, classes, _version(simulated_earth))
    store.extend(size, workers)
    names = {"source": "simulated", "title": "the simulated Earth"}
    names["provenance"] = f"simulated · {split} · seed {seed}"
    return Dataset(store, np.arange(size), store.table(size), classes=classes, **names)


class RenderedStore:
    """Two growing files: ``images.u8``, tile after tile, and ``records.jsonl``, one line per finished tile.

    A line is written after its pixels, so what an interrupted run finished is complete and the next run goes
    on there.
    """

    image_size = TILE[:2]

    def __init__(self, split: str, seed: int, classes: tuple[str, ...], version: str):
        self.folder = paths.cache_dir() / "simulated" / version / f"{split}-{seed}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.split = split
        self.classes = classes
        self.start = SPLIT_START[split] + SCENES_PER_CLASS * seed
        self._images = np.zeros((0, *TILE), np.uint8)

    def __getstate__(self):
        return {**self.__dict__, "_images": np.zeros((0, *TILE), np.uint8)}

    def place(self, k: int) -> tuple[str, int]:
        """Class and scene seed of record k."""
        return self.classes[k % len(self.classes)], self.start + k // len(self.classes)

    def one(self, row: int) -> np.ndarray:
        """Pixels of one tile, uint8 ``[64, 64, 3]``."""
        return self.take(np.array([row]))[0]

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Pixels of several tiles, uint8 ``[n, 64, 64, 3]``: a memory-mapped view of consecutive rows."""
        needed = int(rows.max()) + 1 if len(rows) else 0
        if len(self._images) < needed:
            self._images = np.memmap(self.folder / "images.u8", np.uint8, "r", shape=(needed, *TILE))
        return rows_of(self._images, rows)

    def table(self, size: int) -> list[dict]:
        """The first ``size`` rows: id, label, captions, metadata."""
        with open(self.folder / "records.jsonl", encoding="utf-8") as lines:
            return [json.loads(line) for _, line in zip(range(size), lines, strict=False)]

    def extend(self, size: int, workers: int) -> None:
        """Render until there are ``size`` tiles."""
        from filelock import FileLock

        if self._finished() >= size and (self.folder / "records.jsonl").exists():
            return
        with FileLock(self.folder / "lock"):
            have = self._repair()
            spawn = get_context("spawn")
            pool = ProcessPoolExecutor(workers, mp_context=spawn) if workers > 1 else nullcontext()
            with pool, progress_bar(size - have, "rendering the simulated Earth", minimum=100) as bar:
                apply = getattr(pool, "map", map)
                for first in range(have, size, _BATCH):
                    ks = range(first, min(first + _BATCH, size))
                    rendered = list(apply(_render, *zip(*map(self.place, ks), strict=True)))
                    self._append(ks, rendered)
                    bar.update(len(ks))

    def _append(self, ks, rendered):
        with open(self.folder / "images.u8", "ab") as images:
            images.write(b"".join(pixels for pixels, _, _ in rendered))
            images.flush()
            os.fsync(images.fileno())
        lines = []
        for k, (_, captions, metadata) in zip(ks, rendered, strict=True):
            name, scene_seed = self.place(k)
            row = {"id": f"{self.split}/{name}/{scene_seed}", "label": k % len(self.classes)}
            lines.append(json.dumps({**row, "captions": captions, "metadata": metadata}) + "\n")
        with open(self.folder / "records.jsonl", "a", encoding="utf-8") as records:
            records.write("".join(lines))

    def _finished(self) -> int:
        records = self.folder / "records.jsonl"
        return records.read_bytes().count(b"\n") if records.exists() else 0

    def _repair(self) -> int:
        """Drop what an interruption left half-written; return the number of complete tiles."""
        records, images = self.folder / "records.jsonl", self.folder / "images.u8"
        records.touch()
        images.touch()
        tile = int(np.prod(TILE))
        complete = min(self._finished(), images.stat().st_size // tile)
        lines = records.read_bytes().splitlines(keepends=True)[:complete]
        with open(records, "r+b") as file:
            file.truncate(sum(map(len, lines)))
        with open(images, "r+b") as file:
            file.truncate(complete * tile)
        return complete


def _version(simulator) -> str:
    """The simulator's VERSION and a hash of its source, so that an edit never meets tiles of the old code."""
    digest = hashlib.sha256()
    for file in sorted(Path(simulator.__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return f"{simulator.VERSION}-{digest.hexdigest()[:8]}"


def _render(label: str, seed: int) -> tuple[bytes, list[str], dict]:
    from rs_course import simulated_earth

    scene = simulated_earth.scene(label, seed)
    metadata = {
        key: value.item() if hasattr(value, "item") else value for key, value in scene.metadata.items()
    }
    return np.ascontiguousarray(scene.image).tobytes(), list(scene.captions), metadata


PHRASES = {
    "AnnualCrop": "annual crop fields", "Forest": "a forest", "HerbaceousVegetation": "herbaceous vegetation",
    "Highway": "a highway", "Industrial": "industrial buildings", "Pasture": "pasture",
    "PermanentCrop": "permanent crops such as orchards or vineyards", "Residential": "a residential area",
    "River": "a river", "SeaLake": "a sea or lake",
}  # fmt: skip

# Functional Map of the World's, in the order and words that DiffusionSat was trained with.
FMOW_CATEGORIES = (
    "airport", "airport_hangar", "airport_terminal", "amusement_park", "aquaculture",
    "archaeological_site", "barn", "border_checkpoint", "burial_site", "car_dealership",
    "construction_site", "crop_field", "dam", "debris_or_rubble", "educational_institution",
    "electric_substation", "factory_or_powerplant", "fire_station", "flooded_road", "fountain",
    "gas_station", "golf_course", "ground_transportation_station", "helipad", "hospital",
    "impoverished_settlement", "interchange", "lake_or_pond", "lighthouse", "military_facility",
    "multi-unit_residential", "nuclear_powerplant", "office_building", "oil_or_gas_facility", "park",
    "parking_lot_or_garage", "place_of_worship", "police_station", "port", "prison", "race_track",
    "railway_bridge", "recreational_facility", "road_bridge", "runway", "shipyard", "shopping_mall",
    "single-unit_residential", "smokestack", "solar_farm", "space_facility", "stadium", "storage_tank",
    "surface_mine", "swimming_pool", "toll_booth", "tower", "tunnel_opening", "waste_disposal",
    "water_treatment_facility", "wind_farm", "zoo",
)  # fmt: skip

_TEMPLATES = {
    "simulated": "a satellite image of {phrase}",
    "eurosat": "14_GOOGLE_LEVEL_a Sentinel-2 image of {phrase}",
    "fmow": "a fmow satellite image of a {phrase}",  # "a airport" too: the model knows no other article
}


def class_prompt(label: str | int, dataset: str = "simulated") -> str:
    """Prompt for a class.

    Args:
        label: Class name (``"River"``) or index into the list of classes (8).
        dataset: ``"simulated"`` or ``"eurosat"``; ``"fmow"`` for the 62 categories that DiffusionSat knows.

    Returns:
        For example "a satellite image of a river".

    Raises:
        ValueError: Unknown class or data set.
    """
    names = prompt_classes(dataset)
    name = label if isinstance(label, str) else dict(enumerate(names)).get(int(label), "")
    if name not in names:
        raise ValueError(f"Unknown class {label!r}: use 0 to {len(names) - 1} or one of {', '.join(names)}.")
    phrase = name.replace("_", " ") if dataset == "fmow" else PHRASES[name]
    return _TEMPLATES[dataset].format(phrase=phrase)


def prompt_classes(dataset: str) -> tuple[str, ...]:
    """The classes that :func:`class_prompt` knows of a data set.

    Raises:
        ValueError: Unknown data set.
    """
    if dataset not in _TEMPLATES:
        raise ValueError(f"There is no prompt table for {dataset!r}: use 'simulated', 'eurosat' or 'fmow'.")
    return FMOW_CATEGORIES if dataset == "fmow" else tuple(PHRASES)
