"""How good mini-ddpm is, measured: the numbers of its model card.

    python benchmarks/ddpm_quality.py [EUROSAT]

An independent classifier, trained on the reference tiles only, says which class it sees in generated tiles;
the kernel distance (KID) between its features of generated and of unseen reference tiles is given with its
floor (reference against reference) and its ceiling (every class against the next one).
"""

from __future__ import annotations

import itertools
import json
import sys

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from rs_course import datasets, seeds
from rs_course.diffusion import pixel
from rs_course.metrics import kid
from rs_course.training.ddpm import batches
from rs_course.training_loop import optimize

COUNT = 25  # generated tiles per class and guidance scale
SCALES = (1.0, 2.0, 3.0)


class Classifier(nn.Module):
    """A small convolutional network; ``features`` is what KID compares."""

    def __init__(self, classes: int = 10):
        super().__init__()
        layers, width = [], 3
        for channels in (32, 64, 128):
            layers += [
                nn.Conv2d(width, channels, 3, padding=1),
                nn.BatchNorm2d(channels),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
            width = channels
        self.body = nn.Sequential(*layers, nn.Conv2d(width, width, 3, padding=1), nn.ReLU())
        self.head = nn.Linear(2 * width, classes)

    def features(self, x):
        maps = self.body(x)  # [N, 128, 4, 4]
        return torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], dim=1)

    def forward(self, x):
        return self.head(self.features(x))


def train_classifier(images, labels, *, steps: int = 1000, seed: int = 0) -> Classifier:
    """Train on uint8 tiles ``[N, 32, 32, 3]`` with the eight symmetries; one cycle of the learning rate."""
    with seeds.initial_weights(seed):
        model = Classifier()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)

    def loss(batch, _):
        return F.cross_entropy(model(batch[0]), batch[1], label_smoothing=0.05)

    data = itertools.islice(batches(images, labels, 64, seed, drop=0.0)(0), steps)
    for _ in optimize(model, data, loss, optimizer, scheduler=scheduler):
        pass
    return model.eval()


@torch.no_grad()
def measure(model: pixel.PixelModel, judge: Classifier, test, names, *, seed: int = 0) -> dict:
    """Numbers for ten classes of one look; ``test`` is a pair (uint8 images, labels 0..9)."""
    x, y = pixel.from_pixels(test[0]), torch.from_numpy(test[1])
    reference = judge.features(x)
    # At random, because classes take turns in some sets.
    half = torch.from_numpy(np.random.default_rng(seed).permutation(len(x)) % 2 == 0)
    numbers = {
        "accuracy_on_unseen_reference": round((judge(x).argmax(1) == y).float().mean().item(), 3),
        "kid_floor": _kid(reference[half], reference[~half]),
        "kid_ceiling": round(
            float(np.mean([_kid(reference[y == k], reference[y == (k + 1) % 10]) for k in range(10)])), 4
        ),
    }
    wanted = torch.arange(10).repeat_interleave(COUNT)
    for scale in SCALES:
        tiles = model.sample([names[k] for k in wanted], steps=20, guidance=scale, seed=seed) * 2 - 1
        recognised = (judge(tiles).argmax(1) == wanted).float()
        numbers[f"guidance_{scale:g}"] = {
            "recognised": round(recognised.mean().item(), 3),
            "kid": _kid(judge.features(tiles), reference),
            "recognised_by_class": [round(v, 2) for v in recognised.view(10, COUNT).mean(1).tolist()],
        }
    return numbers


def _kid(a, b) -> float:
    return round(float(kid(a, b)), 4)


def references(data: str):
    """For each look its name and two pairs (uint8 images ``[N, 32, 32, 3]``, labels 0..9): train and test."""
    for look, source, options in (("eurosat", data, {}), ("simulated", "simulated", {"size": 4000})):
        parts = [datasets.load(source, "train", **options), datasets.load(source, "test")]
        yield look, *((pixel.shrink(np.asarray(part.images)), np.asarray(part.labels)) for part in parts)


def main(data: str = "eurosat", checkpoint: str = "mini-ddpm") -> None:
    model, report = pixel.load(checkpoint), {}
    for look, train, test in references(data):
        names = model.classes[:10] if look == "eurosat" else model.classes[10:]
        report[look] = measure(model, train_classifier(*train), test, names)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main(*sys.argv[1:])
