"""mini-vae: the autoencoder whose latents all mini generators share.

    rs-course train mini-vae

An ``AutoencoderKL`` (Rombach et al. 2022, arXiv 2112.10752) with factor 4 instead of 8, because a tile of
64×64 pixels at 10 m holds fields of a few pixels: 64×64×3 becomes 16×16×4. It learns real EuroSAT tiles and
simulated ones.
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import numpy as np
import torch

from rs_course import precision
from rs_course.diffusion.learning import EMA
from rs_course.diffusion.pixel import from_pixels

from .state import restore_state, save_state

ARCHITECTURE = {
    "down_block_types": ("DownEncoderBlock2D",) * 3,
    "up_block_types": ("UpDecoderBlock2D",) * 3,
    "block_out_channels": (24, 48, 96),
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 8,
    "sample_size": 64,
}


def train(out, *, minutes=10, seed=0, resume=True, data="eurosat", simulated=6_000):
    """Train on EuroSAT's training split and on ``simulated`` tiles of the simulated Earth.

    Args:
        out: Folder of the model in the diffusers layout; the training state and ``log.jsonl`` lie there too.
        minutes: Time for the whole training; becomes a number of steps by timing the first ones.
        seed: Of weights, batches and latent samples.
        resume: Go on where an interrupted training stopped.
        data: EuroSAT, as a name or path that ``rs_course.datasets.load`` takes.
        simulated: Number of simulated tiles.
    """
    tiles, unseen = tile_sets(data, simulated)
    images = np.concatenate([np.asarray(one.images) for one in tiles])
    plan = Path(out) / "plan.json"
    if not (resume and plan.exists()):
        plan.parent.mkdir(parents=True, exist_ok=True)
        plan.write_text(json.dumps({"steps": int(60 * minutes / _seconds_per_step(images))}))
    return fit(out, images, unseen, steps=json.loads(plan.read_text())["steps"], seed=seed, resume=resume)


def tile_sets(data, simulated: int) -> tuple[list, dict[str, np.ndarray]]:
    """The training splits, EuroSAT's and the simulated one, and 200 unseen tiles of each by name."""
    from rs_course import datasets

    sets = {"eurosat": (data, None), "simulated": ("simulated", simulated)}
    seen = [datasets.load(source, "train", size=size) for source, size in sets.values()]
    unseen = {name: datasets.load(source, "test", size=200).images for name, (source, _) in sets.items()}
    return seen, {name: np.asarray(images) for name, images in unseen.items()}


def fit(
    out,
    images: np.ndarray,
    unseen: dict[str, np.ndarray],
    *,
    steps: int,
    seed: int = 0,
    resume: bool = True,
    batch: int = 32,
    crop: int = 32,
    whole_from: float = 0.8,
    lr: float = 1.5e-3,
    kl: float = 1e-3,
    edges: float = 0.005,
    log_every: int = 500,
    model: dict | None = None,
):
    """Train on uint8 tiles ``[N, H, W, 3]`` and write the averaged weights to ``out``, in half precision.

    Args:
        out, seed, resume: See :func:`train`.
        images: Training tiles.
        steps: Length of the training; the learning rate follows a cosine to 2 % of itself.
        unseen: Tiles by name; their reconstruction PSNR is logged.
        batch, crop: Crops a step, and their side in pixels: more places a step than whole tiles show.
        whole_from: Share of the training after which a step sees as many pixels in whole tiles instead, so
            that the attention learns their size.
        lr: The largest learning rate.
        kl, edges: Weights of the KL divergence and of the gradient error beside the squared error. At 1e-3
            the latents' noise costs about 1 % of the squared error, and smooths the generators' space.
        log_every: Steps between two lines of the log, at which the state is saved.
        model: Overrides of ``ARCHITECTURE``.

    Returns:
        The averaged ``AutoencoderKL``.
    """
    from diffusers import AutoencoderKL

    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)  # the initial weights; every later draw has its own generator
    vae = AutoencoderKL(**ARCHITECTURE | (model or {}))
    ema = EMA(vae)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=lr, betas=(0.9, 0.99), weight_decay=1e-4)
    step = 0
    if resume and (left := restore_state(out, vae, ema, optimizer)):
        step = ema.updates = left["step"]

    while step < steps:
        rate = lr * min(1, (step + 1) / 200) * max(0.02, 0.5 * (1 + math.cos(math.pi * step / steps)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        whole = step >= whole_from * steps
        side = images.shape[1] if whole else crop
        x = draw_batch(images, max(1, batch * crop**2 // side**2), seed, step, side=side)
        squared, gradient, divergence = loss_terms(vae, x, seed=seed + step)
        optimizer.zero_grad(set_to_none=True)
        (squared + edges * gradient + kl * divergence).backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        ema.update(vae)
        step += 1
        if step % log_every == 0 or step == steps:
            psnr = {name: round(reconstruction_psnr(ema.model, tiles), 2) for name, tiles in unseen.items()}
            with (out / "log.jsonl").open("a") as log:
                log.write(json.dumps({"step": step, "mse": squared.item(), "psnr": psnr}) + "\n")
            save_state(out, vae, ema, optimizer, step=step)
    ema.model.register_to_config(scaling_factor=scaling_factor(ema.model, images))
    ema.model.half().save_pretrained(out)
    return ema.model.float()


def draw_batch(images: np.ndarray, count: int, seed: int, step: int, *, side: int) -> torch.Tensor:
    """Crops ``[count, 3, side, side]`` in [-1, 1], turned together; a function of (seed, step)."""
    draw = np.random.default_rng([seed, step])
    corners = draw.integers(images.shape[1] - side + 1, size=(count, 2))
    chosen = zip(draw.choice(len(images), count), corners, strict=True)
    crops = np.stack([images[i, top : top + side, left : left + side] for i, (top, left) in chosen])
    x = from_pixels(crops)
    x = torch.rot90(x, int(draw.integers(4)), (2, 3))
    return x.flip(3) if draw.integers(2) else x


def loss_terms(vae, x: torch.Tensor, *, seed: int):
    """Squared error, gradient error and KL divergence of a batch in [-1, 1], each a mean per pixel value."""
    with precision.fast(x.device.type):
        posterior = vae.encode(x).latent_dist
        y = vae.decode(posterior.sample(torch.Generator(x.device).manual_seed(seed))).sample
    error = y.float() - x
    # Differences of neighbours count too, because the squared error alone averages field edges away.
    gradient = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
    return error.square().mean(), gradient, posterior.kl().float().mean() / x[0].numel()


@torch.no_grad()
def reconstructions(vae, images: np.ndarray, batch: int = 100):
    """Batches ``(decoded, original)`` of uint8 tiles ``[N, H, W, 3]`` that go through the posterior's mean.

    Yields:
        Float tensors ``[B, 3, H, W]`` in [0, 1].
    """
    for start in range(0, len(images), batch):
        x = torch.from_numpy(images[start : start + batch]).permute(0, 3, 1, 2).float() / 255
        y = vae.decode(vae.encode(2 * x - 1).latent_dist.mean).sample
        yield (y / 2 + 0.5).clamp(0, 1), x


def reconstruction_psnr(vae, images: np.ndarray) -> float:
    """Mean PSNR in dB of uint8 tiles ``[N, H, W, 3]``, encoded to the posterior's mean and decoded."""
    from rs_course.metrics import psnr

    return torch.cat([psnr(y, x) for y, x in reconstructions(vae, images)]).mean().item()


@torch.no_grad()
def scaling_factor(vae, images: np.ndarray, count: int = 512) -> float:
    """One over the standard deviation of the latents, so that the generators see unit variance."""
    x = from_pixels(images[:: max(1, len(images) // count)])
    return round(1 / vae.encode(x).latent_dist.mean.std().item(), 5)


def _seconds_per_step(images: np.ndarray, batch: int = 32, steps: int = 5) -> float:
    from diffusers import AutoencoderKL

    vae, times = AutoencoderKL(**ARCHITECTURE), []
    for step in range(steps):
        begin = time.monotonic()
        sum(loss_terms(vae, draw_batch(images, batch, 0, step, side=32), seed=0)).backward()
        times.append(time.monotonic() - begin)
    return float(np.median(times))
