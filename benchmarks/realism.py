"""How real do the tiles of ``sample(prompts)`` look, with no other argument? Three tests.

    python benchmarks/realism.py [--checkpoint mini-text2earth mini-diffusionsat] [--per-class 150]

- Classes: how often a classifier that has seen real tiles only sees the prompted class in them, and how well
  one does that has seen these tiles only, as many real ones only, or both (classification accuracy score,
  Ravuri & Vinyals 2019).
- Two samples: how often a network that was trained to tell generated from reference tiles is right about
  held-out ones (classifier two-sample test, Lopez-Paz & Oquab 2017, arXiv 1610.06545). Once against the
  reference tiles, once against these after ``mini-vae``: no generator of latents can do better.
- Straightness: structure-tensor coherence, of classes that are made of lines. Wavy roads have less of it.

Reference tiles are EuroSAT's training tiles for ``mini-text2earth`` and its student and simulated ones for
``mini-diffusionsat``. Writes ``data/results/realism.json``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from generator_quality import (
    EUROSAT,
    RESULT,
    SEEDS,
    classifiers,
    right,
    rounded,
    sets,
    through_the_autoencoder,
)
from skimage.feature import structure_tensor, structure_tensor_eigenvalues

from rs_course import checkpoints, classification, datasets
from rs_course.checkpoints.images import pixels
from rs_course.metrics.intervals import wilson

COLLECTIONS = {
    "mini-text2earth": "eurosat",
    "mini-text2earth-fast": "eurosat",
    "mini-diffusionsat": "simulated",
}
STRAIGHT = ("Highway", "AnnualCrop", "Residential", "Industrial")
STEPS = 600  # of the network that tells generated from reference tiles
HELD_OUT = 0.2


def straightness(images: np.ndarray, sigma: float = 3.0) -> np.ndarray:
    """Structure-tensor coherence of tiles uint8 ``[N, H, W, 3]``, ``[N]``.

    (λ1 - λ2) / (λ1 + λ2), weighted by the sum: 1 where all gradients within ``sigma`` pixels are parallel, 0
    where they point everywhere.
    """
    found = []
    for grey in np.asarray(images, np.float64).mean(-1):
        large, small = structure_tensor_eigenvalues(structure_tensor(grey, sigma=sigma))
        found.append((large - small).sum() / max((large + small).sum(), 1e-9))
    return np.array(found)


def told_apart(generated: np.ndarray, reference: np.ndarray, seed: int) -> np.ndarray:
    """Whether each held-out tile was recognised as generated or not: bool ``[M]``; as many of both kinds."""
    count = min(len(generated), len(reference))
    test = round(HELD_OUT * count)
    order = np.random.default_rng(seed).permutation(count)
    images = np.stack([generated[order], reference[order]])
    labels = np.repeat([[1], [0]], count, axis=1)
    seen, unseen = (images[:, test:], labels[:, test:]), (images[:, :test], labels[:, :test])
    flat = [(x.reshape(-1, *x.shape[2:]), y.ravel()) for x, y in (seen, unseen)]
    model = classification.fit(*flat[0], steps=STEPS, seed=seed)
    return classification.predict(model, flat[1][0], symmetries=True).argmax(1).numpy() == flat[1][1]


def two_samples(generated: np.ndarray, reference: np.ndarray) -> list[float]:
    """Share told apart over the seeds, with its Wilson interval."""
    hits = np.concatenate([told_apart(generated, reference, seed) for seed in SEEDS])
    return list(wilson(hits.sum(), len(hits))[:3])


def conditions(collection: str, train, count: int) -> tuple[np.ndarray, np.ndarray, dict]:
    """Training tiles, so many of each class, their labels, and what a generator is told to draw the like.

    Date, clouds and place differ from tile to tile on the simulated Earth; a generator that is told nothing
    about them draws the average, so there it is told those of the tiles.
    """
    labels = np.asarray(train.labels)
    rows = np.concatenate([np.flatnonzero(labels == k)[:count] for k in np.unique(labels)])
    told = {"prompts": [datasets.class_prompt(int(k), collection) for k in labels[rows]]}
    if collection == "simulated":
        told["metadata"] = [dict(train.metadata[i]) for i in rows]
    return np.asarray(train.images)[rows], labels[rows], told


def measure(name: str, eurosat, count: int) -> dict:
    """All numbers of one generator."""
    collection = next(own for mini, own in COLLECTIONS.items() if name.startswith(mini))
    train, test = sets(collection, eurosat)
    reference, labels, told = conditions(collection, train, count)
    generated = pixels(checkpoints.load(name).sample(**told, seed=0))
    judges, _ = classifiers(np.asarray(train.images), train.labels, test)
    both = np.concatenate([generated, reference]), np.tile(labels, 2)
    accuracy = {
        "generated": classifiers(generated, labels, test)[1],
        "real": classifiers(reference, labels, test)[1],
        "both": classifiers(*both, test)[1],
    }
    lined = np.isin(np.array(train.classes)[labels], STRAIGHT)
    straight = {"generated": straightness(generated[lined]), "real": straightness(reference[lined])}
    return {
        "tiles": len(labels),
        "recognised": right(judges, generated, labels).mean(1).tolist(),
        "classification accuracy score": accuracy
        | {"ratio": float(np.mean(accuracy["generated"]) / np.mean(accuracy["real"]))},
        "told apart": {
            "from real tiles through mini-vae": two_samples(generated, through_the_autoencoder(reference)),
            "from real tiles": two_samples(generated, reference),
            "columns": ["share right", "low", "high"],
        },
        "straightness": {key: float(value.mean()) for key, value in straight.items()}
        | {"ratio": float(straight["generated"].mean() / straight["real"].mean())},
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", nargs="+", default=list(COLLECTIONS))
    parser.add_argument("--per-class", type=int, default=150)
    parser.add_argument("--eurosat", default=EUROSAT, help="EuroSAT: a name, folder or archive")
    arguments = parser.parse_args()
    file = RESULT.with_name("realism.json")
    for name in arguments.checkpoint:
        numbers = rounded(measure(name, arguments.eurosat, arguments.per_class))
        stored = json.loads(file.read_text()) if file.exists() else {}
        stored |= {"made by": "python benchmarks/realism.py", Path(name).name: numbers}
        file.write_text(json.dumps(stored, indent=1) + "\n")
        print(name, json.dumps(numbers, indent=1), flush=True)


if __name__ == "__main__":
    main()
