"""What the latent minis learn from: simulated scenes under many conditions, and real tiles with their class.

The simulator's own dates favour the growing season and clear skies, as archives do, and it shows everything
at 10 m. A generator that must obey month, clouds, latitude and scale has to see all of them.
"""

from __future__ import annotations

import datetime
import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np

from rs_course import paths

CHUNK = 250
DRAWN = "seasons"  # names cached scenes; to be renamed whenever :func:`conditions` draws otherwise
# Metres per pixel. Few, because the sinusoid that a generator reads them through turns fast over 4 to 40 m:
# each value has to be met often.
SCALES = (4.0, 6.0, 9.0, 13.0, 20.0, 30.0, 40.0)


class Tiles(NamedTuple):
    """Tiles: uint8 ``[N, 64, 64, 3]``, class numbers ``[N]``, and per tile sentences and metadata."""

    images: np.ndarray
    labels: np.ndarray
    captions: list[list[str]]
    metadata: list[dict]


def varied(count: int, *, draw: int = 1, workers: int = 1) -> Tiles:
    """Scenes whose date, clouds and scale are drawn anew; rendered once into the cache.

    Scene k shows a place of the simulator's training split that ``datasets.load("simulated", seed=draw)``
    would show too, under the conditions of :func:`conditions`.

    Args:
        count: Number of scenes; classes take turns.
        draw: Which places.
        workers: Processes that render.
    """
    from rs_course import simulated_earth

    folder = paths.cache_dir() / "training" / simulated_earth.VERSION / f"varied-{draw}-{DRAWN}"
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [(draw, first, folder) for first in range(0, count, CHUNK)]
    if workers > 1:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            chunks = list(pool.map(_chunk, *zip(*jobs, strict=True)))
    else:
        chunks = [_chunk(*job) for job in jobs]
    images, rows = zip(*chunks, strict=True)
    rows = [row for chunk in rows for row in chunk][:count]
    return Tiles(
        np.concatenate(images)[:count],
        np.arange(count) % len(simulated_earth.CLASSES),
        [row["captions"] for row in rows],
        [row["metadata"] for row in rows],
    )


def conditions(k: int, draw: int) -> dict:
    """What is drawn anew for scene k; a function of (k, draw).

    For half of the scenes each, independently: the cloud cover from 0 to 0.9; and the date from the whole
    year together with the latitude, since only both say whether there is snow: from 60° south to 66° north,
    every second one north of 35°. For three quarters the ground sample distance, one of :data:`SCALES`.
    """
    dice = np.random.default_rng([draw, k])
    season, clouds, scale = dice.random(3) < (0.5, 0.5, 0.75)
    chosen = {"cloud_cover": round(dice.uniform(0, 0.9), 2)} if clouds else {}
    if season:
        south = -60 if dice.random() < 0.5 else 35
        chosen |= {"date": any_day(dice), "lat": round(dice.uniform(south, 66), 2)}
    return chosen | ({"gsd": float(dice.choice(SCALES))} if scale else {})


def any_day(dice) -> datetime.date:
    """Any day of the simulator's years."""
    return datetime.date(int(dice.integers(2016, 2025)), 1, 1) + datetime.timedelta(int(dice.integers(365)))


def place(k: int, draw: int) -> tuple[str, int]:
    """Class and seed of scene k; no two draws share a place."""
    from rs_course.datasets.simulated import SCENES_PER_CLASS
    from rs_course.simulated_earth import CLASSES

    return CLASSES[k % len(CLASSES)], SCENES_PER_CLASS * draw + k // len(CLASSES)


def _chunk(draw: int, first: int, folder) -> tuple[np.ndarray, list[dict]]:
    from rs_course.simulated_earth import scene

    file = folder / f"{first:06d}.npz"
    if not file.exists():
        scenes = [scene(*place(k, draw), **conditions(k, draw)) for k in range(first, first + CHUNK)]
        rows = [{"captions": one.captions, "metadata": one.metadata} for one in scenes]
        part = file.with_suffix(".part.npz")
        np.savez(part, images=np.stack([one.image for one in scenes]), rows=json.dumps(rows))
        part.replace(file)
    with np.load(file) as stored:
        return stored["images"], json.loads(str(stored["rows"]))
