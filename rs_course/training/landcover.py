"""A reader of land cover, trained on the simulated Earth, and the sentences it can write about real tiles.

Nobody has written captions for EuroSAT's tiles; all that is known about one is its class. A small
segmentation network that learnt from simulated tiles, whose land cover is known, reads where water, trees or
buildings are. What it finds is said in the simulator's own words, so that "water on the left" means the same
for a real look. It is not always right, so each class has a list of what may be said about it.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike

from rs_course import paths, precision, seeds, simulated_earth
from rs_course.alignment.atoms import NAMES, LandcoverReader, shrunk
from rs_course.checkpoints.maps import classes_of_scene
from rs_course.simulated_earth.captions import composition, extent
from rs_course.training_loop import by_step, once, optimize, run

from .training_sets import DRAWN, conditions, place, rendered

# Words of the captions for what the reader tells apart; the background (grass, scrub, gardens) is not named.
WORDS = {
    "building": "building", "road": "road", "water": "water", "barren": "bare ground",
    "forest": "trees", "agriculture": "cropland",
}  # fmt: skip
# What may be said about a real tile of a class: what belongs there, and is not easily taken for another.
SAYABLE = {
    "AnnualCrop": ("forest", "barren"), "Forest": (), "HerbaceousVegetation": ("forest", "barren"),
    "Highway": ("forest", "road", "building"), "Industrial": ("building", "forest", "agriculture"),
    "Pasture": ("forest",), "PermanentCrop": ("forest",),
    "Residential": ("building", "forest", "agriculture"), "River": ("water", "forest", "agriculture"),
    "SeaLake": ("water", "forest", "barren")
}  # fmt: skip
WEIGHTS = {"road": 3.0, "building": 2.0, "barren": 2.0, "water": 2.0}  # in the loss, because they are rare
DRAW = 5  # which places of the simulator's training split the reader sees
LEAST = 6  # percent of the tile from which on land cover is named


def train(
    out: str | Path, *, minutes: float | None = None, seed: int = 0, resume: bool = True, data: Any = 6_000
):
    """``mini-landcover``: the reader that lessons and benchmarks judge with.

    The arguments are those of every mini; ``minutes`` is not used, because the number of steps is fixed, and
    a finished reader is taken from the cache.
    """
    from safetensors.torch import save_file

    Path(out).mkdir(parents=True, exist_ok=True)
    reader = train_reader(int(data), seed=seed)
    stored = {k: v.half() if v.is_floating_point() else v for k, v in reader.state_dict().items()}
    save_file(stored, Path(out) / "model.safetensors")


def train_reader(scenes: int = 6_000, steps: int = 6_000, *, seed: int = 0) -> LandcoverReader:
    """A reader for tiles of any date and scale, from the cache where it has been trained before.

    Args:
        scenes: Simulated scenes under :func:`rs_course.training.training_sets.conditions`.
        steps: Gradient steps. Colours are changed at random, because real ones differ from the simulator's.
        seed: Of weights, order and colours.
    """
    folder = paths.cache_dir() / "training" / simulated_earth.VERSION
    kept = folder / f"landcover-{scenes}-{steps}-{DRAW}-{seed}.pt"

    def train():
        (images, truth), _ = rendered(f"landcover-{DRAW}-{DRAWN}", scenes, partial(_row, DRAW))
        return fit(images, truth, WEIGHTS, steps=steps, seed=seed, change_colours=True)

    return once(kept, LandcoverReader(), train)


def fit(
    images: np.ndarray, truth: np.ndarray, weights: dict[str, float], *, steps: int, seed: int = 0,
    batch_size: int = 16, change_colours: bool = False, fast: bool = True,
) -> LandcoverReader:  # fmt: skip
    """Train a reader on tiles that are turned at random.

    Args:
        images: uint8 ``[N, 64, 64, 3]``.
        truth: Places in :data:`NAMES`, ``[N, 64, 64]``.
        weights: Of classes in the loss, by name; 1 for the others.
        steps, seed, batch_size: As in :func:`train_reader`.
        change_colours: Change each tile's colours at random.
        fast: Whether the processor's fastest number type may be used (:mod:`rs_course.precision`).
    """
    with seeds.initial_weights(seed):
        reader = LandcoverReader()
    optimizer = torch.optim.AdamW(reader.parameters(), weight_decay=1e-3)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    weight = torch.tensor([weights.get(name, 1.0) for name in NAMES])

    def batch(rng):
        chosen = rng.integers(len(images), size=batch_size)
        x = torch.from_numpy(images[chosen]).permute(0, 3, 1, 2) / 255
        if change_colours:
            light = rng.uniform(0.85, 1.15, (batch_size, 1, 1, 1))
            tint = rng.uniform(0.97, 1.03, (batch_size, 3, 1, 1))  # with more, river and wood are one colour
            x = (x * torch.from_numpy(light * tint).float()).clamp(0, 1)
        turns = int(rng.integers(4))
        y = torch.from_numpy(truth[chosen]).long().rot90(turns, (1, 2))
        return x.rot90(turns, (2, 3)), y

    def loss(batch, _):
        x, y = batch
        with precision.fast() if fast else contextlib.nullcontext():
            scores = reader(x)
        return F.cross_entropy(scores.float(), y, weight)

    batches = itertools.islice(by_step(batch, seed)(0), steps)
    run(optimize(reader, batches, loss, optimizer, scheduler=scheduler))
    return reader.eval()


def _row(draw: int, k: int):
    """A tile ``[64, 64, 3]`` and its classes ``[64, 64]``."""
    one = simulated_earth.scene(*place(k, draw), **conditions(k, draw))
    return (one.image, shrunk(classes_of_scene(one))), {}


def sentence_of(classes: np.ndarray, label: str, rng: np.random.Generator) -> str | None:
    """What may be said about one tile, in the simulator's words; ``None`` where there is nothing.

    Args:
        classes: Places in :data:`NAMES`, ``[64, 64]``.
        label: EuroSAT's class.
        rng: Chooses the wording.
    """
    counts = np.bincount(classes.ravel(), minlength=len(NAMES))
    said = [(int(counts[NAMES.index(name)]), name) for name in SAYABLE[label]]
    said = sorted(((n, name) for n, name in said if 100 * n >= LEAST * classes.size), reverse=True)
    if not said:
        return None
    shares = {WORDS[name]: round(100 * n / classes.size) for n, name in said}
    places = {WORDS[name]: extent(classes == NAMES.index(name)) for _, name in said}
    facts = {"shares": shares, "positions": places}
    return composition(facts, lambda *options: options[rng.integers(len(options))])


def sentences_of(
    maps: np.ndarray, labels: ArrayLike, names: Sequence[str], seed: int = 0
) -> list[str | None]:
    """:func:`sentence_of` for maps ``[N, 64, 64]`` and class numbers that index ``names``."""
    rng = np.random.default_rng(seed)
    return [sentence_of(one, names[k], rng) for one, k in zip(maps, labels, strict=True)]
