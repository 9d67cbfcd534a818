"""One tile of each class as a study's arms train on them: real, retrieved, and generated as was frozen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rs_course.study.freezing import fill
from rs_course.study.sets import FROM_SHOTS, SAMPLING, inherited

if TYPE_CHECKING:
    from rs_course.study.finished import Finished


def examples(found: Finished, *, seed: int = 0, searched: int = 1000) -> dict[str, tuple[np.ndarray, str]]:
    """One tile for each class from every source of training images that can be shown here and now.

    Real and retrieved ones need the data set on this machine; sets that start from the shots of a task, or
    whose generator was first trained on them, are left out.

    Args:
        found: A study of EuroSAT's classes.
        seed: Of generated tiles, and of the tiles among which retrieval looks.
        searched: How many these are.

    Returns:
        ``{source: (uint8 [C, H, W, 3] in the order of the classes, provenance)}``; the sources are ``"real"``
        (the first training tile of each class), ``"retrieval"`` (the one that ``mini-clip`` finds likest to
        it) and ``"@NAME"`` for the study's sets, drawn now with their frozen settings.
    """
    from rs_course import datasets

    tested = found.tested
    named = set(tested["synthetic"].dropna())
    try:
        data = datasets.load(tested["dataset"].iloc[0], "train")
    except FileNotFoundError:
        shown = {}
    else:
        firsts = [np.flatnonzero(data.labels == k)[0] for k in range(len(data.classes))]
        shown = {"real": (data.images[firsts], data.provenance)}
        if "retrieval" in named:
            some = np.random.default_rng(seed).permutation(len(data))[:searched]
            shown["retrieval"] = _retrieved(data.subset(some)), data.provenance
    settings = found.frozen["settings"]
    described = {name: fill(spec, settings) for name, spec in found.extra.get("sets", {}).items()}
    for name in described:
        spec = inherited(described, name)
        if f"@{name}" in named and "checkpoint" in spec and spec.get("making") not in FROM_SHOTS:
            shown[f"@{name}"] = _generated(spec, list(tested["class_names"].iloc[0]), seed)
    return shown


def _retrieved(data) -> np.ndarray:
    from rs_course import alignment, datasets
    from rs_course.classification import Tiles, recipes

    tiles = Tiles.of(data)
    prompts = [datasets.class_prompt(name, "eurosat") for name in tiles.classes]
    logits = recipes.zero_shot_logits(alignment.load("mini-clip"), tiles.images, prompts)
    return recipes.retrieved(tiles, recipes.softmax(logits), 1).images


def _generated(spec: dict, classes: list[str], seed: int) -> tuple[np.ndarray, str]:
    from rs_course import checkpoints, datasets

    generator = checkpoints.load(spec["checkpoint"])
    prompts = [datasets.class_prompt(name, spec.get("look", "eurosat")) for name in classes]
    drawn = generator.sample(prompts, seed=seed, **{key: spec[key] for key in SAMPLING if key in spec})
    return checkpoints.images.pixels(drawn), f"generated · {spec['checkpoint']} · seed {seed}"
