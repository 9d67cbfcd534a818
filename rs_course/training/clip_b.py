"""mini-clip-b: a second judge of images and text, with weights, scenes and a wording of its own.

    rs-course train mini-clip-b

A generator that was conditioned by mini-clip's text tower may please mini-clip for reasons that have nothing
to do with the picture. A judge can only catch that if it has other weights, other patches, another vocabulary
and other lessons: here other simulated places, each sentence in two wordings.
"""

from __future__ import annotations

import re

import numpy as np

from . import clip
from .mixture import eurosat_tiles
from .scenes import Tiles, varied

DRAW = 2  # of the simulated places; mini-clip and the generators see other draws

# What a sentence of the simulator, or a class prompt, is called in the second wording.
_VIEW = "A satellite image|A Sentinel-2 view|An overhead picture|A view from orbit"
_REAL = "[Aa] Sentinel-2 image|[Aa] real Sentinel-2 tile|[Aa] satellite image"
_SKY = r"^Clouds cover about (\d+) percent of the tile, (.+)$"
_OTHER_WORDING = {
    rf"^(?:{_VIEW}) of (.+) in (\w+)\.$": r"Seen from above in \2: \1.",
    rf"^(?:{_REAL}) (?:of|with) (.+)$": r"an aerial photograph of \1",
    r"^(?:The sky is clear|There is no cloud|No cloud hides the ground)\.$": "The view is free of clouds.",
    _SKY: r"About \1 percent of the ground lies under clouds, \2",
    r"^(?:There (?:is|are)|One can count) ": "The picture shows ",
    r"^A (?:motorway|highway) (?:runs|cuts|leads) ": "A main road goes ",
    r"^A river (?:meanders|bends|winds|runs|flows) ": "A stream of water goes ",
    r"^([\w ]+?) (?:covers?|takes? up|fills?) (.+?) of the tile": r"\2 of the area is under \1",
    r"^It is (\w+) and there is no snow\.$": r"The season is \1, without snow.",
    r"^The picture was taken in (\w+), without snow\.$": r"The month is \1, and no snow lies.",
    r"^(?:Snow lies on the ground|The land is white with snow)\.$": "The ground is covered with snow.",
}


def train(out, *, minutes=15, seed=1, resume=True, data="eurosat", scenes=8_000):
    """Train on EuroSAT's training split and on simulated places that mini-clip has not seen.

    Args:
        out, minutes, seed, resume, data: See :func:`rs_course.training.clip.train`.
        scenes: Number of simulated scenes.
    """
    return clip.fit(
        out, tiles(data, scenes), minutes=minutes, seed=seed, resume=resume, architecture="mini-clip-b"
    )


def tiles(data, scenes: int) -> Tiles:
    """Real and simulated tiles, each sentence in two wordings."""
    from rs_course.datasets import class_prompt

    drawn, real = varied(scenes, draw=DRAW), eurosat_tiles(data)
    prompts = [[class_prompt(label)] for label in drawn.labels] + [[] for _ in real.labels]
    sentences = [
        first + list(own) for first, own in zip(prompts, drawn.captions + real.captions, strict=True)
    ]
    return Tiles(
        np.concatenate([drawn.images, real.images]),
        np.concatenate([drawn.labels, real.labels]),
        [list(dict.fromkeys(own + [reworded(one) for one in own])) for own in sentences],
        drawn.metadata + real.metadata,
    )


def reworded(sentence: str) -> str:
    """The sentence in other words, or as it is where no other wording is known."""
    for pattern, other in _OTHER_WORDING.items():
        changed, count = re.subn(pattern, other, sentence)
        if count:
            return changed[0].upper() + changed[1:] if sentence[0].isupper() else changed
    return sentence
