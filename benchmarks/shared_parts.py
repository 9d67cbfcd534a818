"""What the minis' shared parts can do, on tiles they never saw: reconstruct, name a class, find a caption.

    python benchmarks/shared_parts.py

Reconstruction PSNR and SSIM of ``mini-vae``; zero-shot accuracy and recall at k of the CLIP minis. Writes
``data/results/shared_parts.json``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from rs_course import alignment, datasets, metrics
from rs_course.checkpoints.loading import locate
from rs_course.checkpoints.prompts import parse_level
from rs_course.training.vae import reconstructions

RESULT = Path(__file__).resolve().parents[1] / "data" / "results" / "shared_parts.json"
EUROSAT = RESULT.parents[3] / "shared" / "data" / "eurosat.tar"


def reconstruction(images: np.ndarray) -> dict:
    """Mean PSNR (dB) and SSIM of tiles that go through the latents and back."""
    vae = AutoencoderKL.from_pretrained(locate("mini-vae")).eval()
    psnr, ssim = zip(
        *((metrics.psnr(y, x), metrics.ssim(y, x)) for y, x in reconstructions(vae, images)), strict=True
    )
    return {"psnr": round(torch.cat(psnr).mean().item(), 2), "ssim": round(torch.cat(ssim).mean().item(), 4)}


def zero_shot(scorer, data, collection: str) -> float:
    """Share of tiles whose class prompt is the most similar of the ten."""
    prompts = [[parse_level(datasets.class_prompt(name, collection))[1]] for name in data.classes]
    found = alignment.zero_shot(scorer, np.asarray(data.images), prompts).argmax(1).cpu().numpy()
    return round(float((found == data.labels).mean()), 4)


def retrieval(scorer, data) -> dict:
    """Recall at 1, 5 and 10 both ways; a tile's caption is its first two sentences."""
    captions = [" ".join(own[:2]) for own in data.captions]
    found = alignment.retrieval(scorer.similarity(np.asarray(data.images), captions))
    ways = {"image to text": found.image_to_text, "text to image": found.text_to_image}
    return {way: {f"R@{k}": round(share, 3) for k, share in at.items()} for way, at in ways.items()}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--eurosat", default=EUROSAT, help="EuroSAT: a name, folder or archive")
    arguments = parser.parse_args()
    tests = {
        "eurosat": datasets.load(arguments.eurosat, "test", size=1_000),
        "simulated": datasets.load("simulated", "test", size=500),
    }
    numbers = {"made by": "python benchmarks/shared_parts.py", "tiles": {n: len(d) for n, d in tests.items()}}
    numbers["mini-vae"] = {name: reconstruction(data.images) for name, data in tests.items()}
    for name in ("mini-clip", "mini-clip-b"):
        try:
            scorer = alignment.load(name, cache=False)
        except FileNotFoundError as error:
            print(error)
            continue
        numbers[name] = {
            "zero-shot": {collection: zero_shot(scorer, d, collection) for collection, d in tests.items()},
            "retrieval among 500 simulated": retrieval(scorer, tests["simulated"]),
        }
    RESULT.write_text(json.dumps(numbers, indent=1) + "\n")
    print(json.dumps(numbers, indent=1))


if __name__ == "__main__":
    main()
