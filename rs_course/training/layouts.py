"""Scenes whose land cover is known, seen from four sides, with sentences that stay true.

What is said about the place of things explains little of a tile: of the variance of coarse latents about a
twentieth. A network that is only asked for the noise hardly hears it. These scenes come with the map that the
sentences were made from, so that a network can also be asked what lies where (``rs_course.training.places``).
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import torch

from rs_course import simulated_earth
from rs_course.alignment.atoms import NAMES, shrunk
from rs_course.checkpoints.maps import classes_of_scene
from rs_course.datasets import class_prompt
from rs_course.simulated_earth import CLASSES

from . import latent
from .sides import COURSE, SIDE, turned
from .training_sets import DRAWN, Tiles, conditions, place, rendered

DRAW = 7  # which places of the simulator's training split these scenes show
GRID = 16  # fields along a side of the maps, as many as the latents have
CLASS_ALONE = 0.25  # share of tiles of which the class prompt is all that is said
PLACED = 0.35  # share of which one sentence about a place is said; about the others anything
WITH_CLASS = 0.3  # of both, the share that has the class prompt before it
# How often a sentence about a place is about land cover, the course of a river or road, its banks, or
# villages, ponds and bridges.
KINDS = {"cover": 0.5, "course": 0.25, "banks": 0.1, "count": 0.15}


class Layouts(NamedTuple):
    """Scenes and what lies where in them.

    Attributes:
        tiles: N scenes with their sentences.
        maps: Share of each of ``atoms.NAMES`` in each field, uint8 (255 is all of it)
            ``[N, 7, GRID, GRID]``.
    """

    tiles: Tiles
    maps: np.ndarray


def layouts(count: int, *, workers: int = 1) -> Layouts:
    """The first ``count`` scenes, rendered once into the cache; classes take turns.

    Every second round of the classes is as the simulator likes to show it, the others are under
    :func:`rs_course.training.training_sets.conditions`.
    """
    (images, maps), rows = rendered(f"layouts-{DRAW}-{DRAWN}", count, _row, workers=workers)
    captions, metadata = ([row[key] for row in rows] for key in ("captions", "metadata"))
    return Layouts(Tiles(images, np.arange(count) % len(CLASSES), captions, metadata), maps)


def _row(k: int):
    chosen = conditions(k, DRAW) if k // len(CLASSES) % 2 else {}
    one = simulated_earth.scene(*place(k, DRAW), **chosen)
    told = {"captions": one.captions, "metadata": one.metadata}
    return (one.image, shares(shrunk(classes_of_scene(one)))), told


def shares(classes: np.ndarray) -> np.ndarray:
    """Share of each land cover in each field of a map ``[64, 64]``: uint8 ``[7, GRID, GRID]``."""
    of_each = np.arange(len(NAMES))[:, None, None] == classes
    size = classes.shape[-1] // GRID
    return np.uint8(255 * of_each.reshape(len(NAMES), GRID, size, GRID, size).mean((2, 4)) + 0.5)


def turned_maps(maps: torch.Tensor) -> torch.Tensor:
    """Maps ``[N, C, h, w]`` in all views of ``latent.encode``: ``[N, VIEWS, C, h, w]``."""
    return torch.stack(latent.in_views(maps), 1)


def kind_of(sentence: str) -> str | None:
    """Which of :data:`KINDS` a caption is; ``None`` where it says nothing about a side of the ground."""
    if not SIDE.search(sentence) or sentence.startswith("Clouds"):
        return None
    if COURSE.search(sentence):
        return "course"
    if sentence.startswith("The river parts"):
        return "banks"
    return "count" if re.search(r"\b(village|pond|bridge)s?\b", sentence) else "cover"


class Sentences:
    """What is said about which view of which scene.

    Args:
        tiles: Scenes with their captions.
    """

    def __init__(self, tiles: Tiles):
        self.tiles = tiles
        self.by_kind: dict[str, list[tuple[int, str]]] = {kind: [] for kind in KINDS}
        for i, captions in enumerate(tiles.captions):
            for sentence in captions:
                if kind := kind_of(sentence):
                    self.by_kind[kind].append((i, sentence))
        self.kinds = [kind for kind in KINDS if self.by_kind[kind]]
        often = np.array([KINDS[kind] for kind in self.kinds])
        self.often = often / often.sum()

    def placed(self, draw: np.random.Generator) -> tuple[int, int, str]:
        """Number of a scene, of its view, and a sentence about a place in it."""
        of_kind = self.by_kind[self.kinds[draw.choice(len(self.kinds), p=self.often)]]
        i, sentence = of_kind[draw.integers(len(of_kind))]
        view = int(draw.integers(latent.VIEWS))
        return i, view, turned(sentence, view)

    def any(self, draw: np.random.Generator) -> tuple[int, int, str]:
        """Number of a scene, of its view, and one or two of its sentences."""
        i, view = int(draw.integers(len(self.tiles.labels))), int(draw.integers(latent.VIEWS))
        captions = self.tiles.captions[i]
        picks = draw.permutation(len(captions))[: draw.integers(1, 3)]
        return i, view, turned(" ".join(captions[k] for k in picks), view)

    def mixed(self, draw: np.random.Generator) -> tuple[int, int, str]:
        """As :meth:`placed` or :meth:`any`, with or without the class prompt, or that alone."""
        share = draw.random()
        if share < PLACED and self.kinds:
            i, view, sentence = self.placed(draw)
        else:
            i, view, sentence = self.any(draw)
        prompt = class_prompt(int(self.tiles.labels[i]))
        if share > 1 - CLASS_ALONE:
            return i, view, prompt
        return i, view, f"{prompt}. {sentence}" if draw.random() < WITH_CLASS else sentence
