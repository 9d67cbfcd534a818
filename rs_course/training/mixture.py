"""Which tiles, and which sentences about them, each mini learns from."""

from __future__ import annotations

import re

import numpy as np

from rs_course import datasets
from rs_course.checkpoints.prompts import LEVEL_TOKEN, level_of_gsd
from rs_course.datasets import class_prompt

from . import latent
from .scenes import Tiles, varied

# Words that change places when a tile is mirrored left to right; the light falls from the other side too.
_MIRRORED = {"left": "right", "right": "left", "east": "west", "west": "east"}
_SIDES = re.compile(r"\b(left|right|east|west)\b")
# Sentences about where and how many are said more often than those about sky and season.
_SPATIAL = re.compile(r"\b(left|right|top|bottom|centre|middle|one|two|three|four|five)\b")


def simulated_tiles(simulated: int, scenes: int) -> Tiles:
    """Tiles of the simulator's own choice, then scenes under many conditions; see ``scenes.varied``."""
    usual, changed = datasets.load("simulated", "train", size=simulated), varied(scenes)
    return Tiles(
        np.concatenate([np.asarray(usual.images), changed.images]),
        np.concatenate([np.asarray(usual.labels), changed.labels]),
        [list(own) for own in usual.captions] + changed.captions,
        [dict(row) for row in usual.metadata] + changed.metadata,
    )


def eurosat_tiles(data) -> Tiles:
    """EuroSAT's training split; its sentences are those of :func:`real_captions`."""
    from rs_course.simulated_earth import CLASSES

    real = datasets.load(data, "train")
    labels = np.array([CLASSES.index(real.classes[k]) for k in real.labels])
    return Tiles(
        np.asarray(real.images), labels, [real_captions(k) for k in labels], [{"gsd": 10.0}] * len(labels)
    )


def real_captions(label: int) -> list[str]:
    """What is known about a EuroSAT tile is its class; said in several ways."""
    prompt = class_prompt(label, "eurosat").split(LEVEL_TOKEN)[-1]
    phrase = prompt.removeprefix("a Sentinel-2 image of ")
    return [prompt, f"a real Sentinel-2 tile with {phrase}", f"a Sentinel-2 picture that shows {phrase}"]


def clip_tiles(data, simulated: int, scenes: int) -> Tiles:
    """Simulated and real tiles; the class prompt is one sentence of every simulated tile."""
    drawn, real = simulated_tiles(simulated, scenes), eurosat_tiles(data)
    captions = [[class_prompt(label), *own] for label, own in zip(drawn.labels, drawn.captions, strict=True)]
    return Tiles(
        np.concatenate([drawn.images, real.images]),
        np.concatenate([drawn.labels, real.labels]),
        captions + real.captions,
        drawn.metadata + real.metadata,
    )


def mirrored(sentence: str) -> str:
    """What is true of the mirror image of a tile of which ``sentence`` is true."""
    return _SIDES.sub(lambda found: _MIRRORED[found[0]], sentence)


def with_mirror_images(tiles: Tiles) -> Tiles:
    """The tiles, then their mirror images with sentences that are true of those.

    A tile and its mirror image have everything in common but the side of things, so that nothing but a word
    tells them apart.
    """
    return Tiles(
        np.concatenate([tiles.images, tiles.images[:, :, ::-1]]),
        np.tile(tiles.labels, 2),
        tiles.captions + [[mirrored(sentence) for sentence in own] for own in tiles.captions],
        tiles.metadata * 2,
    )


def placed_captions(images: np.ndarray, labels: np.ndarray, names) -> list[list[str]]:
    """What a reader of land cover finds in real tiles, view by view.

    Args:
        images: uint8 ``[N, 64, 64, 3]``.
        labels: Class numbers ``[N]``.
        names: Class names.

    Returns:
        For each of ``latent.VIEWS`` views of each tile, in the order of ``latent.encode``, one sentence or
        none: a list of N · VIEWS lists.
    """
    from rs_course.alignment.landcover import load, read

    from .landcover import sentences_of

    maps = read(load(), images)
    flipped = maps[:, :, ::-1]
    views = [maps, flipped, np.rot90(maps, 1, (1, 2)), np.rot90(flipped, 1, (1, 2))][: latent.VIEWS]
    said = [sentences_of(view, labels, names, seed=k) for k, view in enumerate(views)]
    return [[one] if one else [] for of_tile in zip(*said, strict=True) for one in of_tile]


def some_sentences(own: list[str], draw) -> str:
    """One or two of a tile's sentences, in any order; those about where and how many three times as often."""
    weight = np.array([3.0 if _SPATIAL.search(sentence) else 1.0 for sentence in own])
    count = min(len(own), int(draw.integers(1, 3)))
    picks = draw.choice(len(own), count, replace=False, p=weight / weight.sum())
    return " ".join(own[k] for k in picks)


def simulated_sentence(tiles: Tiles, i: int, draw) -> str:
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
