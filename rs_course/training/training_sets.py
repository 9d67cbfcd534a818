"""Which tiles, sentences about them, and maps of them each mini learns from.

Simulated scenes under many conditions, for CRS-Diff and the ControlNets with maps and at two dates each; and
real tiles with their class. The simulator's own dates favour the growing season and clear skies, as archives
do, and it shows everything at 10 m. A generator that must obey month, clouds, latitude and scale has to see
all of them.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rs_course import datasets, paths, simulated_earth
from rs_course.checkpoints.prompts import LEVEL_TOKEN, level_of_gsd
from rs_course.datasets import class_prompt
from rs_course.datasets.simulated import SCENES_PER_CLASS
from rs_course.files import atomic_write
from rs_course.simulated_earth import CLASSES

from . import latent
from .sides import turned

if TYPE_CHECKING:
    import torch

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
    (images,), rows = rendered(f"varied-{draw}-{DRAWN}", count, partial(_varied, draw), workers=workers)
    captions, metadata = ([row[key] for row in rows] for key in ("captions", "metadata"))
    return Tiles(images, np.arange(count) % len(CLASSES), captions, metadata)


def _varied(draw: int, k: int):
    one = simulated_earth.scene(*place(k, draw), **conditions(k, draw))
    return (one.image,), {"captions": one.captions, "metadata": one.metadata}


def rendered(
    name: str, count: int, row: Callable[[int], tuple], *, workers: int = 1
) -> tuple[list[np.ndarray], list]:
    """The first ``count`` rows of what ``row`` makes, from the cache where they were made before.

    Args:
        name: Of the folder in the cache; other rows need another one.
        count: How many.
        row: Number k to a tuple of arrays and what JSON can hold.
        workers: Processes that make them.

    Returns:
        The arrays, stacked to ``[count, ...]``, and a list of the rest.
    """
    folder = paths.cache_dir() / "training" / simulated_earth.VERSION / name
    chunk = partial(_chunk, row, folder, CHUNK)
    firsts = range(0, count, CHUNK)
    if workers > 1:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            chunks = list(pool.map(chunk, firsts))
    else:
        chunks = [chunk(first) for first in firsts]
    arrays, rows = zip(*chunks, strict=True)
    stacked = [np.concatenate(parts)[:count] for parts in zip(*arrays, strict=True)]
    return stacked, [row for chunk in rows for row in chunk][:count]


def _chunk(row, folder: Path, size: int, first: int):
    file = folder / f"{first:06d}.npz"
    if not file.exists():
        arrays, rows = zip(*(row(k) for k in range(first, first + size)), strict=True)
        stacked = [np.stack(parts) for parts in zip(*arrays, strict=True)]
        with atomic_write(file) as partial, partial.open("wb") as stream:
            np.savez(stream, *stacked, rows=json.dumps(rows))
    with np.load(file) as stored:
        rows = json.loads(str(stored["rows"]))
        return [stored[name] for name in stored.files if name != "rows"], rows


def conditions(k: int, draw: int) -> dict:
    """What is drawn anew for scene k; a function of (k, draw).

    For half of the scenes each, independently: the cloud cover from 0 to 0.9; and the date from the whole
    year together with the latitude, since only both say whether there is snow: from 60° south to 66° north,
    every second one north of 35°. For three quarters the ground sample distance, one of :data:`SCALES`.
    """
    rng = np.random.default_rng([draw, k])
    season, clouds, scale = rng.random(3) < (0.5, 0.5, 0.75)
    chosen = {"cloud_cover": round(rng.uniform(0, 0.9), 2)} if clouds else {}
    if season:
        south = -60 if rng.random() < 0.5 else 35
        chosen |= {"date": any_day(rng), "lat": round(rng.uniform(south, 66), 2)}
    return chosen | ({"gsd": float(rng.choice(SCALES))} if scale else {})


def any_day(rng: np.random.Generator) -> datetime.date:
    """Any day of the simulator's years."""
    return datetime.date(int(rng.integers(2016, 2025)), 1, 1) + datetime.timedelta(int(rng.integers(365)))


def place(k: int, draw: int) -> tuple[str, int]:
    """Class and seed of scene k; no two draws share a place."""
    return CLASSES[k % len(CLASSES)], SCENES_PER_CLASS * draw + k // len(CLASSES)


# Sentences about where and how many are said more often than those about sky and season.
_SPATIAL = re.compile(r"\b(left|right|top|bottom|centre|middle|one|two|three|four|five)\b")


def simulated_tiles(simulated: int, scenes: int) -> Tiles:
    """Tiles of the simulator's own choice, then scenes under many conditions; see ``scenes.varied``."""
    usual = datasets.load("simulated", "train", size=simulated)
    captions, metadata = [list(own) for own in usual.captions], [dict(row) for row in usual.metadata]
    return joined(
        Tiles(np.asarray(usual.images), np.asarray(usual.labels), captions, metadata), varied(scenes)
    )


def eurosat_tiles(data: Any) -> Tiles:
    """EuroSAT's training split; its sentences are those of :func:`real_captions`."""
    real = datasets.load(data, "train")
    labels = np.array([CLASSES.index(real.classes[k]) for k in real.labels])
    captions, metadata = [real_captions(k) for k in labels], [{"gsd": 10.0}] * len(labels)
    return Tiles(np.asarray(real.images), labels, captions, metadata)


def real_captions(label: int) -> list[str]:
    """What is known about a EuroSAT tile is its class; said in several ways."""
    prompt = class_prompt(label, "eurosat").split(LEVEL_TOKEN)[-1]
    phrase = prompt.removeprefix("a Sentinel-2 image of ")
    return [prompt, f"a real Sentinel-2 tile with {phrase}", f"a Sentinel-2 picture that shows {phrase}"]


def clip_tiles(data: Any, simulated: int, scenes: int) -> Tiles:
    """Simulated and real tiles; the class prompt is one sentence of every simulated tile."""
    drawn, real = simulated_tiles(simulated, scenes), eurosat_tiles(data)
    captions = [[class_prompt(label), *own] for label, own in zip(drawn.labels, drawn.captions, strict=True)]
    return joined(drawn._replace(captions=captions), real)


def joined(one: Tiles, other: Tiles) -> Tiles:
    """Both, one after the other."""
    images, labels = (np.concatenate(pair) for pair in zip(one[:2], other[:2], strict=True))
    return Tiles(images, labels, one.captions + other.captions, one.metadata + other.metadata)


def with_mirror_images(tiles: Tiles) -> Tiles:
    """The tiles, then their mirror images with sentences that are true of those.

    A tile and its mirror image have everything in common but the side of things, so that nothing but a word
    tells them apart.
    """
    return Tiles(
        np.concatenate([tiles.images, tiles.images[:, :, ::-1]]),
        np.tile(tiles.labels, 2),
        tiles.captions + [[turned(sentence, 1) for sentence in own] for own in tiles.captions],
        tiles.metadata * 2,
    )


def placed_captions(images: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> list[list[str]]:
    """What a reader of land cover finds in real tiles, view by view.

    Args:
        images: uint8 ``[N, 64, 64, 3]``.
        labels: Class numbers ``[N]``.
        names: Class names.

    Returns:
        For each of ``latent.VIEWS`` views of each tile, in the order of ``latent.encode``, one sentence or
        none: a list of N · VIEWS lists.
    """
    import torch

    from rs_course.alignment.atoms import load_reader, read_landcover

    from .landcover import sentences_of

    maps = read_landcover(load_reader(), images)
    views = latent.in_views(torch.from_numpy(maps))
    said = [sentences_of(view.numpy(), labels, names, seed=k) for k, view in enumerate(views)]
    return [[one] if one else [] for of_tile in zip(*said, strict=True) for one in of_tile]


def some_sentences(own: list[str], draw: np.random.Generator) -> str:
    """One or two of a tile's sentences, in any order; those about where and how many three times as often."""
    weight = np.array([3.0 if _SPATIAL.search(sentence) else 1.0 for sentence in own])
    count = min(len(own), int(draw.integers(1, 3)))
    picks = draw.choice(len(own), count, replace=False, p=weight / weight.sum())
    return " ".join(own[k] for k in picks)


def simulated_sentence(tiles: Tiles, i: int, draw: np.random.Generator) -> str:
    """The class prompt, true sentences, or both, for a third of the simulated tiles each."""
    kind = draw.integers(3)
    prompt = class_prompt(int(tiles.labels[i]))
    if kind == 0:
        return prompt
    sentences = some_sentences(tiles.captions[i], draw)
    return sentences if kind == 1 else f"{prompt}. {sentences}"


def with_level(sentence: str, gsd: float) -> str:
    """The sentence behind Text2Earth's resolution token."""
    return f"{level_of_gsd(gsd)}{LEVEL_TOKEN}{sentence}"


MAP_SIDE = 128  # eight map pixels per latent pixel, as CRS-Diff has them


class MappedScenes(NamedTuple):
    """Scenes with their maps; N rows each.

    Attributes:
        images: uint8 ``[N, 64, 64, 3]``.
        other_images: The same places on another date.
        truth: uint8 ``[N, 3, 128, 128]``: share of road, height over the scene's own range, class.
        filtered: uint8 ``[N, 3, 64, 64]``: lines, edges and sketch that scikit-image finds in ``images``.
        labels: Class numbers ``[N]``.
        captions: Per scene, its sentences.
        metadata, other_metadata: Per scene, those of ``images`` and of ``other_images``.
    """

    images: np.ndarray
    other_images: np.ndarray
    truth: np.ndarray
    filtered: np.ndarray
    labels: np.ndarray
    captions: list[list[str]]
    metadata: list[dict]
    other_metadata: list[dict]


def mapped_scenes(count: int, *, draw: int = 3) -> MappedScenes:
    """The first ``count`` scenes of a draw, rendered once into the cache; classes take turns.

    Conditions vary as in :func:`varied`. The other date is any day of those
    years; it is cloudless in two of three scenes, because under a cloud there is no season to learn.

    Args:
        count: Number of scenes.
        draw: Which places of the simulator's training split.
    """
    arrays, rows = rendered(f"mapped-{draw}-{DRAWN}", count, partial(_mapped_row, draw))
    labels = np.arange(count) % len(CLASSES)
    lists = ([row[key] for row in rows] for key in ("captions", "metadata", "other_metadata"))
    return MappedScenes(*arrays, labels, *lists)


def condition_maps(truth: np.ndarray, filtered: np.ndarray, device: str | torch.device = None):
    """CRS-Diff's 18 channels, float ``[N, 18, 128, 128]`` in [0, 1], in the order of ``crsdiff.MAPS``.

    Args:
        truth, filtered: Those of :class:`MappedScenes`.
        device: Where they are computed and lie.
    """
    import torch
    import torch.nn.functional as F

    from rs_course.checkpoints.maps import painted

    truth, filtered = (torch.from_numpy(part).to(device) for part in (truth, filtered))
    fine, coarse = truth[:, :2].float() / 255, filtered.float() / 255
    # ``sample`` enlarges maps that are drawn on the tile's own pixels, with another kernel of the same kind.
    coarse = F.interpolate(coarse, size=(MAP_SIDE, MAP_SIDE), mode="bicubic", antialias=True).clamp(0, 1)
    grey = torch.cat([coarse, fine], dim=1).repeat_interleave(3, dim=1)
    return torch.cat([grey, painted(truth[:, 2])], dim=1)


def _mapped_row(draw: int, k: int):
    from rs_course.checkpoints import maps as extract

    chosen = conditions(k, draw)
    rng = np.random.default_rng([draw, k, 1])
    day = any_day(rng)
    clear = rng.random() < 2 / 3
    one = simulated_earth.scene(*place(k, draw), **chosen)
    changed = {**chosen, "date": day} | ({"cloud_cover": 0.0} if clear else {})
    other = simulated_earth.scene(*place(k, draw), **changed)

    true = extract.maps_of_scene(one, MAP_SIDE)
    road, height = (np.uint8(true[name][0, 0].numpy() * 255 + 0.5) for name in ("road", "depth"))
    step = 256 // MAP_SIDE
    classes = extract.classes_of_scene(one)[step // 2 :: step, step // 2 :: step]
    found = [find(one.image)[0, 0].numpy() for find in (extract.lines, extract.edges, extract.sketch)]
    arrays = one.image, other.image, np.stack([road, height, classes]), np.uint8(np.stack(found) * 255 + 0.5)
    told = {"captions": list(one.captions), "metadata": one.metadata, "other_metadata": other.metadata}
    return arrays, told
