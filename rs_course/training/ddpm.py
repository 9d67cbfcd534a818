"""mini-ddpm: a class-conditional diffusion model on 32×32 pixels, for notebook 01.

    rs-course train mini-ddpm

It learns ten real classes (EuroSAT) and the same ten of the simulated Earth, so one network shows both
looks. The network is ``rs_course.diffusion.unet.UNet``; it predicts v on the cosine schedule, weighted by
min-SNR.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from rs_course import precision, seeds, training_loop
from rs_course.diffusion.pixel import PixelModel, from_pixels, shrink
from rs_course.diffusion.process import denoising_loss
from rs_course.diffusion.samplers import drop_condition
from rs_course.diffusion.schedules import cosine
from rs_course.diffusion.unet import UNet
from rs_course.simulated_earth import CLASSES as EUROSAT
from rs_course.training_loop import EMA, Budget, Recipe, by_step, linear_decay

from .latent import begin_from, write_grid

# The class numbers: ten real looks, then the same ten simulated; the number after the last means "no class".
CLASSES = (*EUROSAT, *(f"simulated {name}" for name in EUROSAT))
DROP = 0.1  # share of tiles trained without their class (Ho & Salimans 2022)
SIZE = 32
RECIPE = Recipe(lr=1e-3, decay=linear_decay(0.6), weight_decay=1e-3, log_every=200)


def train(
    out: str | Path,
    *,
    minutes: float | None = 90,
    seed: int = 0,
    resume: bool = True,
    data: Any = "eurosat",
    simulated: int = 10_000,
    start: str | Path | None = None,
    batch_size: int = 64,
):
    """Train on EuroSAT's training split and on simulated tiles, if any; arguments as of every mini."""
    from rs_course import datasets

    sources = [datasets.load(data, "train")]
    if simulated:
        sources.append(datasets.load("simulated", "train", size=simulated))
    images = np.concatenate([shrink(np.asarray(source.images)) for source in sources])
    labels = [np.asarray(source.labels) + len(EUROSAT) * k for k, source in enumerate(sources)]
    labels = np.concatenate(labels)
    options = {"seed": seed, "resume": resume, "start": start, "batch_size": batch_size}
    return fit(out, images, labels, budget=Budget(minutes), **options)


def batches(images: np.ndarray, labels: np.ndarray, batch_size: int, seed: int, *, drop: float = DROP):
    """Batches ``(x0 [B, 3, H, W] in [-1, 1], labels [B])`` from any step on; that of step k is by (seed, k).

    Each tile is turned and mirrored at random: seen from above, none of the eight views is the right one.
    A share ``drop`` of the labels is replaced by "no class".
    """

    def batch(draw):
        chosen = draw.choice(len(images), batch_size)
        turns, mirrored = draw.integers(4, size=batch_size), draw.integers(2, size=batch_size)
        turned = zip(from_pixels(images[chosen]), turns, mirrored, strict=True)
        views = [(x.rot90(int(r), (1, 2)), m) for x, r, m in turned]
        x0 = torch.stack([x.flip(2) if m else x for x, m in views])
        y = drop_condition(torch.from_numpy(labels[chosen]), len(CLASSES), drop, draw.random(batch_size))
        return x0.contiguous(memory_format=torch.channels_last), y

    return by_step(batch, seed)


def fit(
    out: str | Path,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    budget: Budget,
    seed: int = 0,
    resume: bool = True,
    start: str | Path | None = None,
    batch_size: int = 64,
    recipe: Recipe = RECIPE,
    ema_decay: float = 0.999,
    model: dict | None = None,
):
    """Train on tiles (uint8 ``[N, 32, 32, 3]``, labels 0..19) and write the averaged weights as a checkpoint.

    Args:
        out, seed, resume: See :func:`train`.
        start: A pixel-space checkpoint of the same network to go on from.
        images, labels: Tiles and class numbers.
        budget: Length of the whole training.
        batch_size: Tiles a step.
        recipe, ema_decay: How it is trained, and the decay of the averaged weights.
        model: Arguments of the network.
    """
    out, schedule = Path(out), cosine()
    with seeds.initial_weights(seed):
        network = UNet(classes=len(CLASSES) + 1, **(model or {})).to(memory_format=torch.channels_last)
    if start is not None:
        begin_from(network, start)
    ema = EMA(network, ema_decay)

    def save(step):
        model = PixelModel(ema.module, schedule, CLASSES, SIZE)
        model.save(out)
        looks = [("real look", "generated"), ("simulated look", "generated")]
        write_grid(out, lambda _: (model.sample(CLASSES, guidance=2.0), looks), step)

    made = batches(images, labels, batch_size, seed)
    options = {"prediction_type": "v", "min_snr": 5.0, "autocast": precision.autocast(), "seed": seed}
    loss = denoising_loss(network, schedule, **options)
    options = {"ema": ema, "out": out, "resume": resume, "save": save}
    training_loop.run(training_loop.fit(network, made, loss, recipe, budget, **options))
    return ema.module
