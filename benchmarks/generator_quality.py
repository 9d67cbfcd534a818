"""How good are the minis' tiles? Judged by what they are for: recognising classes.

    python benchmarks/generator_quality.py --prompts SETS/simulated.jsonl
    python benchmarks/generator_quality.py --prompts SETS/simulated-guided.jsonl --count 1000
    WEAK="--guidance 1.5 --guidance-interval 0.15 0.85"; STRONG="--steps 8 --guidance 4"
    cd SETS
    rs-course generate classes:eurosat --per-class 1000 --checkpoint mini-text2earth $WEAK \\
        --sampler dpmsolver++ --steps 12 --out eurosat
    rs-course generate simulated.jsonl --checkpoint mini-diffusionsat $WEAK --steps 8 --out simulated
    rs-course generate classes:eurosat --per-class 100 --checkpoint mini-text2earth $STRONG \\
        --sampler dpmsolver++ --out eurosat-guided
    rs-course generate simulated-guided.jsonl --checkpoint mini-diffusionsat $STRONG --out simulated-guided
    cd ..
    python benchmarks/generator_quality.py --generated SETS

Guidance trades variety for clarity, so there are two sets: weakly guided tiles are what a classifier learns
from, strongly guided ones are what one looks at; of these it is asked only whether the class is recognised.

For each collection: is the prompted class recognised by a classifier that has seen real tiles only; how well
does a classifier do that has seen generated tiles only (classification accuracy score, Ravuri & Vinyals
2019), beside the same one trained on as many real tiles; distances between the distributions with their floor
(real against real) and ceiling (against another class); precision and recall; and how near the nearest
training tile is. Writes ``data/results/generator_quality.json``.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import torch
from diffusers import AutoencoderKL

from rs_course import alignment, classification, datasets, metrics
from rs_course.checkpoints.images import pixels
from rs_course.checkpoints.loading import locate
from rs_course.training.vae import reconstructions

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "data" / "results" / "generator_quality.json"
EUROSAT = ROOT.parent / "shared" / "data" / "eurosat.tar"
SEEDS = (0, 1, 2)
STEPS = 1_500  # of 64 tiles
CHECKPOINTS = {"eurosat": "mini-text2earth", "simulated": "mini-diffusionsat"}


def sets(collection: str, eurosat) -> tuple:
    """Reference tiles to train on (1,000 per class) and unseen ones to test on (200 per class)."""
    source = eurosat if collection == "eurosat" else "simulated"
    sizes = {} if collection == "eurosat" else {"train": 10_000, "test": 2_000}
    return tuple(datasets.load(source, split, size=sizes.get(split)) for split in ("train", "test"))


def write_prompts(file: Path, count: int, known: int = 6_000) -> None:
    """Class prompts for the simulated Earth, each with the metadata of a training tile of its class.

    Date, clouds and place differ from tile to tile in the reference too; a generator that is told nothing
    about them draws the average.
    """
    tiles = datasets.load("simulated", "train", size=known)
    with file.open("w", encoding="utf-8") as lines:
        for k in range(count):
            i = k % known
            row = {
                "prompt": datasets.class_prompt(int(tiles.labels[i])),
                "label": tiles.classes[tiles.labels[i]],
            }
            lines.write(json.dumps(row | {"metadata": dict(tiles.metadata[i])}) + "\n")


def classifiers(images, labels, test) -> tuple[list, list[float]]:
    """One classifier per seed, and the accuracy of each on the test tiles."""
    models = [classification.fit(images, labels, seed=seed, steps=STEPS) for seed in SEEDS]
    return models, [float(hits.mean()) for hits in right(models, test.images, test.labels)]


def right(models, images, labels) -> np.ndarray:
    """Which tiles each classifier names as labelled, by all symmetries of a tile: bool ``[seeds, N]``."""
    found = [classification.predict(model, images, symmetries=True).argmax(1).numpy() for model in models]
    return np.stack(found) == np.asarray(labels)


def recognised(models, images, labels) -> dict:
    """Share of tiles whose prompted class the classifiers see: overall per seed, and mean per class."""
    hits = right(models, images, labels)
    per_class = [round(float(hits[:, labels == k].mean()), 4) for k in np.unique(labels)]
    return {"seeds": [round(float(h.mean()), 4) for h in hits], "per_class": per_class}


def through_the_autoencoder(images) -> np.ndarray:
    """The tiles, encoded and decoded by ``mini-vae``: what a perfect generator of latents would draw."""
    vae = AutoencoderKL.from_pretrained(locate("mini-vae")).eval()
    parts = [pixels(decoded) for decoded, _ in reconstructions(vae, np.asarray(images))]
    return np.concatenate(parts)


def distances(features, labels, train, train_labels, test, test_labels) -> dict:
    """Generated, real (floor) and another class (ceiling) against the unseen real tiles."""

    def real_of(k):
        return train[train_labels == k % 10][:200]

    def mean(values):
        return float(np.mean(values))

    rng = np.random.default_rng(0)
    same = rng.permutation(len(train))[: len(test)]
    some = rng.permutation(len(features))[: len(test)]
    pr = metrics.precision_recall(test, features[some])
    floor = metrics.precision_recall(test, train[same])
    classes = range(len(np.unique(test_labels)))
    own = [metrics.fid(features[labels == k][:200], test[test_labels == k]) for k in classes]
    real = [metrics.fid(real_of(k), test[test_labels == k]) for k in classes]
    # The ceiling: class k is compared with its neighbour in the alphabet, so that only the content is wrong.
    other = [metrics.fid(real_of(k - 1), test[test_labels == k]) for k in classes]
    whole, unseen = features[some], train[same]
    return {
        "fid": {"generated": metrics.fid(whole, test), "real": metrics.fid(unseen, test)},
        "fid within a class": {"generated": mean(own), "real": mean(real), "other class": mean(other)},
        "kid": {"generated": float(metrics.kid(whole, test)), "real": float(metrics.kid(unseen, test))},
        "precision": {"generated": pr.precision, "real": floor.precision},
        "recall": {"generated": pr.recall, "real": floor.recall},
    }


def memorisation(features, train, test) -> dict:
    """Cosine to the nearest training tile: of generated tiles, and of real tiles that training never saw.

    Returns:
        Medians, 99th percentiles, and the share of generated tiles that are nearer to a training tile than
        99.9 % of the unseen real tiles are; 0.001 is what chance gives.
    """
    unit = [torch.nn.functional.normalize(torch.as_tensor(f).float(), dim=1) for f in (features, train, test)]
    generated, known, unseen = unit
    near = torch.cat([(part @ known.T).max(1).values for part in generated.split(500)]).numpy()
    base = torch.cat([(part @ known.T).max(1).values for part in unseen.split(500)]).numpy()
    return {
        "median": {"generated": float(np.median(near)), "unseen real": float(np.median(base))},
        "99th percentile": {
            "generated": float(np.quantile(near, 0.99)), "unseen real": float(np.quantile(base, 0.99))
        },
        "nearer than 99.9 % of unseen real": float((near > np.quantile(base, 0.999)).mean()),
    }  # fmt: skip


def settings_of(folder: Path) -> dict:
    """How the tiles of a generated set were sampled, as its first shard says."""
    shard = min(folder.glob("*.parquet"))
    return json.loads(parquet.read_table(shard, columns=["settings"])["settings"][0].as_py())


def guided(models, folder: Path) -> dict:
    """Recognition of the strongly guided set beside ``folder``, where there is one."""
    folder = folder.with_name(folder.name + "-guided")
    if not folder.is_dir():
        return {}
    tiles = datasets.load(folder)
    found = recognised(models, np.asarray(tiles.images), np.asarray(tiles.labels))
    return {"guided": {"settings": settings_of(folder), "tiles": len(tiles), "recognised": found}}


def measure(collection: str, folder: Path, eurosat) -> dict:
    """All numbers of one collection."""
    train, test = sets(collection, eurosat)
    generated = datasets.load(folder)
    images, labels = np.asarray(generated.images), np.asarray(generated.labels)
    known = np.asarray(train.images)
    as_many = np.concatenate(
        [np.flatnonzero(np.asarray(train.labels) == k)[:n] for k, n in enumerate(np.bincount(labels))]
    )
    real_models, real_accuracy = classifiers(known, train.labels, test)  # the judges have seen all there is
    if len(as_many) < len(known):
        _, real_accuracy = classifiers(known[as_many], np.asarray(train.labels)[as_many], test)
    _, generated_accuracy = classifiers(images, labels, test)
    both = (
        np.concatenate([images, known[as_many]]),
        np.concatenate([labels, np.asarray(train.labels)[as_many]]),
    )
    _, both_accuracy = classifiers(*both, test)
    judge = alignment.load("mini-clip-b")
    embedded = [judge.image_embeddings(x).double().numpy() for x in (images, known, np.asarray(test.images))]
    ratio = np.mean(generated_accuracy) / np.mean(real_accuracy)
    return {
        "checkpoint": CHECKPOINTS[collection],
        "settings": settings_of(folder),
        "tiles": {"generated": len(images), "as many real": len(as_many), "test": len(test)},
        "recognised": recognised(real_models, images, labels),
        **guided(real_models, folder),
        "recognised real test tiles": recognised(real_models, np.asarray(test.images), test.labels),
        "recognised real test tiles through mini-vae": recognised(
            real_models, through_the_autoencoder(test.images), test.labels
        ),
        "classification accuracy score": {
            "generated": generated_accuracy, "real": real_accuracy, "both": both_accuracy,
            "ratio": float(ratio),
        },
        **distances(embedded[0], labels, embedded[1], np.asarray(train.labels), embedded[2], test.labels),
        "memorisation": memorisation(*embedded),
    }  # fmt: skip


def rounded(value):
    """Four decimals, all through a structure."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return round(float(value), 4) if isinstance(value, float | np.floating) else value


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prompts", type=Path, help="write the prompts of the simulated set here, and stop")
    parser.add_argument("--count", type=int, default=10_000, help="number of those prompts")
    parser.add_argument("--generated", type=Path, help="folder with the generated sets")
    parser.add_argument("--eurosat", default=EUROSAT, help="EuroSAT: a name, folder or archive")
    parser.add_argument("--only", choices=CHECKPOINTS, help="one collection; the other's numbers stay")
    arguments = parser.parse_args()
    if arguments.prompts:
        return write_prompts(arguments.prompts, arguments.count)
    if not arguments.generated:
        parser.error("give --generated SETS, the folder that rs-course generate wrote into.")
    for collection in [arguments.only] if arguments.only else CHECKPOINTS:
        started = time.monotonic()
        numbers = rounded(measure(collection, arguments.generated / collection, arguments.eurosat))
        numbers["seconds"] = round(time.monotonic() - started)
        stored = json.loads(RESULT.read_text()) if RESULT.exists() else {}
        stored[collection] = numbers
        stored["made by"] = {
            "command": "python benchmarks/generator_quality.py",
            "features": "mini-clip-b, image embeddings",
            "classifier": f"small-cnn, {STEPS} steps of 64 tiles, seeds {', '.join(map(str, SEEDS))}",
            "torch": torch.__version__, "machine": platform.machine(),
        }  # fmt: skip
        RESULT.write_text(json.dumps(stored, indent=1, ensure_ascii=False) + "\n")
        print(json.dumps({collection: numbers}, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
