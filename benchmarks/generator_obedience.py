"""Do the minis do what they are told? Metadata against the simulator's truth, captions against a judge.

    python benchmarks/generator_obedience.py

Metadata: one field is swept while the rest of the scene stays; the same simple measure of the picture
(greenness, share of bright pixels, share of fine texture) is taken on generated and on rendered tiles, and
the two curves are correlated. Captions: a tile is generated for each sentence of a minimal pair ("… on the
left", "… on the right"), and ``mini-clip-b``, which did not condition the generator, says which sentence it
shows; beside it the judge's own accuracy on true scenes. Writes ``data/results/generator_obedience.json``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from rs_course import alignment, checkpoints, datasets, simulated_earth
from rs_course.alignment.atoms import brightness, greenness
from rs_course.alignment.measures import KINDS
from rs_course.checkpoints.images import pixels

RESULT = Path(__file__).resolve().parents[1] / "data" / "results" / "generator_obedience.json"
FIRST = 2_100_000_000  # scene seeds of the simulator's test split


def fineness(images: np.ndarray) -> float:
    """Share of the variance of grey values that is lost when 4×4 pixels become one: fine texture."""
    grey = images.mean(-1)
    n, h, w = grey.shape
    coarse = grey.reshape(n, h // 4, 4, w // 4, 4).mean((2, 4))
    return float((1 - coarse.var((1, 2)) / np.maximum(grey.var((1, 2)), 1e-6)).mean())


CLEAR = {"cloud_cover": 0.0}
# field: (measure, classes, values, what else is fixed)
SWEEPS = {
    "month": (greenness, ("AnnualCrop", "Forest", "Pasture"), range(1, 13), CLEAR | {"lat": 48.0}),
    "cloud_cover": (brightness, ("Forest", "River", "Residential"), np.linspace(0, 0.9, 7), {"month": 7}),
    # in these classes the simulator's own texture becomes steadily finer with the ground sample distance
    "gsd": (fineness, ("AnnualCrop", "PermanentCrop", "Industrial"), (4, 6, 9, 13, 20, 30, 40), CLEAR),
    "lat": (brightness, ("AnnualCrop", "Pasture", "Forest"), np.linspace(20, 65, 7), CLEAR | {"month": 1}),
}


def scenes_of(field: str, value, fixed: dict, classes, count: int) -> list:
    """Rendered scenes of the sweep: the same places for every value."""
    told = {**fixed, field: float(value)}
    month = int(told.pop("month", 7))
    return [
        simulated_earth.scene(name, FIRST + k, date=(2021, month, 15), **told)
        for name in classes
        for k in range(count)
    ]


def metadata_obedience(generator, count: int) -> dict:
    """For every field both curves and their Pearson correlation."""
    result = {}
    for field, (measure, classes, values, fixed) in SWEEPS.items():
        curves = {"simulator": [], "generated": []}
        for value in values:
            scenes = scenes_of(field, value, fixed, classes, count)
            prompts = [datasets.class_prompt(scene.label) for scene in scenes]
            tiles = generator.sample(prompts, metadata=[scene.metadata for scene in scenes], seed=7)
            curves["simulator"].append(measure(np.stack([scene.image for scene in scenes])))
            curves["generated"].append(measure(pixels(tiles)))
        correlation = float(np.corrcoef(curves["simulator"], curves["generated"])[0, 1])
        result[field] = {
            "measure": measure.__name__,
            "values": [round(float(v), 2) for v in values],
            **{name: [round(v, 4) for v in curve] for name, curve in curves.items()},
            "correlation": round(correlation, 3),
            "tiles per value": len(classes) * count,
        }
        print(field, result[field]["correlation"], flush=True)
    return result


def prompt_obedience(generator, scenes: list) -> dict:
    """How often the judge finds the prompted sentence of a minimal pair in the generated tile."""
    judge = alignment.load("mini-clip-b")
    result = {}
    for kind in KINDS:
        pairs = alignment.minimal_pairs(scenes, [kind])
        if not pairs:
            continue
        tiles = generator.sample([pair.true for pair in pairs], seed=11)
        asked = [pair._replace(image=image) for pair, image in zip(pairs, pixels(tiles), strict=True)]
        scored = {"generated": asked, "true scenes": pairs}
        found = {name: alignment.minimal_pair_accuracy(judge, some)["all"] for name, some in scored.items()}
        result[kind] = {
            name: [round(float(x), 3) for x in (one.estimate, one.low, one.high)]
            for name, one in found.items()
        } | {"pairs": len(pairs)}
        print(kind, result[kind], flush=True)
    return result


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", default="mini-diffusionsat")
    parser.add_argument("--count", type=int, default=12, help="tiles per class and value")
    parser.add_argument("--scenes", type=int, default=150, help="scenes for the minimal pairs")
    arguments = parser.parse_args()
    generator = checkpoints.load(arguments.checkpoint)
    classes = simulated_earth.CLASSES
    scenes = [simulated_earth.scene(classes[k % 10], FIRST + 1000 + k) for k in range(arguments.scenes)]
    numbers = {
        "checkpoint": arguments.checkpoint,
        "made by": "python benchmarks/generator_obedience.py",
        "metadata": metadata_obedience(generator, arguments.count),
        "captions": prompt_obedience(generator, scenes),
    }
    RESULT.write_text(json.dumps(numbers, indent=1) + "\n")


if __name__ == "__main__":
    main()
