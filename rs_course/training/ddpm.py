"""mini-ddpm: a class-conditional diffusion model on 32×32 pixels, for notebook 01.

    rs-course train mini-ddpm

It learns ten real classes (EuroSAT) and the same ten of the simulated Earth, so one network shows both
looks. The network is ``rs_course.diffusion.unet.UNet``; it predicts v on the cosine schedule, weighted by
min-SNR.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import torch

from rs_course import precision
from rs_course.diffusion.guidance import drop_condition
from rs_course.diffusion.learning import EMA
from rs_course.diffusion.learning import train as learn
from rs_course.diffusion.pixel import PixelModel, from_pixels, shrink
from rs_course.diffusion.schedules import cosine
from rs_course.diffusion.unet import UNet
from rs_course.simulated_earth import CLASSES as EUROSAT

from .grids import write_grid
from .state import restore_state, save_state

# The class numbers: ten real looks, then the same ten simulated; the number after the last means "no class".
CLASSES = (*EUROSAT, *(f"simulated {name}" for name in EUROSAT))
DROP = 0.1  # share of tiles trained without their class (Ho & Salimans 2022)
SIZE = 32


def train(
    out,
    *,
    minutes: float = 90,
    seed: int = 0,
    resume: bool = True,
    data="eurosat",
    simulated: int = 4_000,
):
    """Train on EuroSAT's training split and on ``simulated`` tiles of the simulated Earth.

    Args:
        out: Folder of the checkpoint; the training state lies there too.
        minutes: Wall time in all, over all resumed runs.
        seed: Of weights, batches, steps and noise.
        resume: Go on where an interrupted training stopped.
        data: The real tiles: name or path that ``rs_course.datasets.load`` takes.
        simulated: Number of simulated tiles; 0 for none.
    """
    from rs_course import datasets

    sources = [datasets.load(data, "train")]
    if simulated:
        sources.append(datasets.load("simulated", "train", size=simulated))
    images = np.concatenate([shrink(np.asarray(source.images)) for source in sources])
    labels = np.concatenate(
        [np.asarray(source.labels) + len(EUROSAT) * k for k, source in enumerate(sources)]
    )
    return fit(out, images, labels, minutes=minutes, seed=seed, resume=resume)


def batches(
    images: np.ndarray, labels: np.ndarray, size: int, seed: int, *, first: int = 0, drop: float = DROP
):
    """Endless batches ``(x0 [B, 3, H, W] in [-1, 1], labels [B])``; batch k is a function of (seed, k).

    Each tile is turned and mirrored at random: seen from above, none of the eight views is the right one.
    A share ``drop`` of the labels is replaced by "no class".
    """
    k = first
    while True:
        draw = np.random.default_rng([seed, k])
        chosen = draw.choice(len(images), size)
        x0 = from_pixels(images[chosen])
        turns, mirrored = draw.integers(4, size=size), draw.integers(2, size=size)
        x0 = torch.stack(
            [
                x.rot90(int(r), (1, 2)).flip(2) if m else x.rot90(int(r), (1, 2))
                for x, r, m in zip(x0, turns, mirrored, strict=True)
            ]
        )
        y = drop_condition(torch.from_numpy(labels[chosen]), len(CLASSES), drop, draw.random(size))
        yield x0.contiguous(memory_format=torch.channels_last), y
        k += 1


def fit(
    out,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    minutes: float,
    seed: int = 0,
    resume: bool = True,
    batch: int = 64,
    lr: float = 1e-3,
    decay_from: float = 0.6,
    ema_decay: float = 0.999,
    model: dict | None = None,
):
    """Train on tiles (uint8 ``[N, 32, 32, 3]``, labels 0..19) and write the averaged weights as a checkpoint.

    The learning rate is constant and falls linearly to zero over the last part of the time, from
    ``decay_from`` on.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)  # the initial weights; everything later has its own generator
    network = UNet(classes=len(CLASSES) + 1, **(model or {})).to(memory_format=torch.channels_last)
    ema = EMA(network, ema_decay)
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, betas=(0.9, 0.99), weight_decay=1e-3)
    first, spent = 0, 0.0
    if resume and (left := restore_state(out, network, ema, optimizer)):
        first = ema.updates = left["step"] + 1
        spent = left["seconds"]

    def save(step):
        save_state(out, network, ema, optimizer, step=step, seconds=seconds)
        model = PixelModel(ema.model, cosine(), CLASSES, SIZE)
        model.save(out)
        looks = [("real look", "generated"), ("simulated look", "generated")]
        write_grid(out, lambda _: (model.sample(CLASSES, guidance=2.0), looks), step + 1)

    started, losses = time.monotonic() - spent, []
    data = batches(images, labels, batch, seed, first=first)
    options = {"predicts": "v", "min_snr": 5.0, "ema": ema, "autocast": precision.autocast(), "seed": seed}
    for progress in learn(network, data, cosine(), optimizer, first_step=first, **options):
        seconds = time.monotonic() - started
        fraction = seconds / (60 * minutes)
        rate = lr * min(1, (progress.step + 1) / 200) * min(1, max(0, (1 - fraction) / (1 - decay_from)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        losses.append(progress.loss)
        if progress.step % 200 == 199:
            line = {
                "step": progress.step + 1,
                "seconds": round(seconds),
                "loss": round(float(np.mean(losses)), 5),
                "lr": rate,
            }
            with (out / "log.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
            losses = []
            save(progress.step)
        if fraction >= 1:
            break
    save(progress.step)
    return ema.model
