r"""Two small networks that differ in nothing but their training tiles: real ones, or generated ones alone.

    python benchmarks/readers.py real ../shared/data/eurosat.tar
    rs-course generate classes:eurosat --per-class 1000 --checkpoint mini-text2earth --steps 12 \
        --guidance 1.5 --guidance-interval 0.15 0.85 --sampler dpmsolver++ --out runs/tiles
    python benchmarks/readers.py generated runs/tiles

Each becomes ``mini-cnn-real`` or ``mini-cnn-generated`` in ``data/checkpoints``; the last lesson slides both
over a real scene. Both are tested on EuroSAT's official test tiles, by which nothing is chosen.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from rs_course import classification, datasets
from rs_course.files import write_json
from rs_course.metrics import wilson

ROOT = Path(__file__).resolve().parent.parent
TAR = ROOT.parent / "shared" / "data" / "eurosat.tar"
TOLD = {
    "real": "EuroSAT RGB, official training tiles (Helber et al. 2019)",
    "generated": "by mini-text2earth, no real one; the generator learnt EuroSAT's training tiles",
}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=TOLD)
    parser.add_argument("tiles", type=Path, help="what to train on")
    parser.add_argument("--data", type=Path, default=TAR, help="EuroSAT's tar or folder, to test on")
    parser.add_argument("--steps", type=int, default=6000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    test = datasets.load(args.data, "test")
    tiles = classification.Tiles.of(datasets.load(args.tiles, "train")).in_classes(test.classes)
    model = classification.fit(tiles.images, tiles.labels, steps=args.steps, batch_size=32, seed=0)
    name, told = f"mini-cnn-{args.kind}", f"{len(tiles):,} tiles: {TOLD[args.kind]}"
    folder = ROOT / "data" / "checkpoints" / name
    classification.classifiers.save(
        model,
        folder,
        test.classes,
        source=f"benchmarks/readers.py {args.kind}",
        licence="MIT",
        training_data=told,
    )
    model, _ = classification.load(folder)  # as it is stored, in 16 bits
    right = classification.predict(model, test.images, symmetries=True).argmax(1).numpy() == test.labels
    share = wilson(right.sum(), len(right))
    recall = {c: round(float(np.mean(right[test.labels == k])), 3) for k, c in enumerate(test.classes)}
    result = {
        "trained on": told,
        "steps of 32": args.steps,
        "tested on": f"real · EuroSAT · {len(right)} test tiles",
        "mean colour of the training tiles": tiles.images.mean((0, 1, 2)).round(1).tolist(),
        **{key: round(getattr(share, key), 4) for key in ("estimate", "low", "high")},
        "recall": recall,
    }
    write_json(ROOT / "data" / "results" / f"{name}.json", result, ensure_ascii=False)
    print(f"{name}: {share.estimate:.1%} [{share.low:.1%}, {share.high:.1%}]")


if __name__ == "__main__":
    main()
