"""Which tiles, and which sentences about them, each mini learns from."""

from __future__ import annotations

import numpy as np

from rs_course import datasets
from rs_course.checkpoints.prompts import LEVEL_TOKEN, level_of_gsd
from rs_course.datasets import class_prompt

from .scenes import Tiles, varied


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


def some_sentences(own: list[str], draw) -> str:
    """One or two of a tile's sentences, in any order."""
    picks = draw.choice(len(own), min(len(own), int(draw.integers(1, 3))), replace=False)
    return " ".join(own[k] for k in picks)


def simulated_sentence(tiles: Tiles, i: int, draw) -> str:
    """The class prompt for half of the simulated tiles, one or two true sentences for the rest."""
    if draw.random() < 0.5:
        return class_prompt(int(tiles.labels[i]))
    return some_sentences(tiles.captions[i], draw)


def with_level(sentence: str, gsd: float) -> str:
    """The sentence behind Text2Earth's resolution token."""
    return f"{level_of_gsd(gsd)}{LEVEL_TOKEN}{sentence}"
