"""mini-vae: the autoencoder whose latents all mini generators share.

    rs-course train mini-vae

An ``AutoencoderKL`` (Rombach et al. 2022, arXiv 2112.10752) with factor 4 instead of 8, because a tile of
64×64 pixels at 10 m holds fields of a few pixels: 64×64×3 becomes 16×16×4. It learns real EuroSAT tiles and
simulated ones.
"""

from __future__ import annotations

import copy
import itertools
from pathlib import Path

import numpy as np
import torch

from rs_course import precision, seeds, training_loop
from rs_course.diffusion.pixel import from_pixels
from rs_course.training_loop import EMA, Budget, Recipe, cosine_decay

ARCHITECTURE = {
    "down_block_types": ("DownEncoderBlock2D",) * 3, "up_block_types": ("UpDecoderBlock2D",) * 3,
    "block_out_channels": (24, 48, 96), "layers_per_block": 1, "latent_channels": 4, "norm_num_groups": 8,
    "sample_size": 64
}  # fmt: skip
RECIPE = Recipe(lr=1.5e-3, decay=cosine_decay(0.02), weight_decay=1e-4)
# Of the KL divergence and of the gradient error beside the squared error. At 1e-3 the latents' noise costs
# about 1 % of the squared error, and smooths the generators' space.
KL, EDGES = 1e-3, 0.005
CROP = 32  # pixels; more places a step than whole tiles show
# Share of the training after which a step sees as many pixels in whole tiles instead, so that the attention
# learns their size.
WHOLE_FROM = 0.8


def train(out, *, minutes=10, seed=0, resume=True, data="eurosat", simulated=6_000):
    """Train on EuroSAT's training split and on ``simulated`` tiles of the simulated Earth.

    Args:
        out, minutes, seed, resume: As of every mini, see :mod:`rs_course.training`.
        data: EuroSAT, as a name or path that ``rs_course.datasets.load`` takes.
        simulated: Number of simulated tiles.
    """
    tiles, unseen = tile_sets(data, simulated)
    images = np.concatenate([np.asarray(one.images) for one in tiles])
    return fit(out, images, unseen, budget=Budget(minutes), seed=seed, resume=resume)


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
    budget: Budget,
    seed: int = 0,
    resume: bool = True,
    batch_size: int = 32,
    recipe: Recipe = RECIPE,
    model: dict | None = None,
):
    """Train on uint8 tiles ``[N, H, W, 3]`` and write the averaged weights to ``out``, in half precision.

    Args:
        out, seed, resume: See :func:`train`.
        images: Training tiles.
        unseen: Tiles by name; their reconstruction PSNR is logged.
        budget: Length of the training.
        batch_size: Crops a step.
        recipe: How it is trained.
        model: Overrides of ``ARCHITECTURE``.

    Returns:
        The averaged ``AutoencoderKL``.
    """
    from diffusers import AutoencoderKL

    with seeds.initial_weights(seed):
        vae = AutoencoderKL(**ARCHITECTURE | (model or {}))
    ema = EMA(vae)

    def batches(first):
        for step in itertools.count(first):
            side = images.shape[1] if budget.share(step) >= WHOLE_FROM else CROP
            draw = np.random.default_rng([seed, step])
            yield draw_batch(images, max(1, batch_size * CROP**2 // side**2), draw, side=side)

    def loss(x, step):
        squared, gradient, divergence = loss_terms(vae, x, seed=seed + step)
        return {"total": squared + EDGES * gradient + KL * divergence, "mse": squared}

    def save(_):
        ema.module.register_to_config(scaling_factor=scaling_factor(ema.module, images))
        save_half(ema.module, out)

    options = {"ema": ema, "out": Path(out), "resume": resume, "save": save}
    options["evaluate"] = lambda: reconstruction_quality(ema.module, unseen)
    for _ in training_loop.fit(vae, batches, loss, recipe, budget, **options):
        pass
    return ema.module


def save_half(vae, out) -> None:
    """Write a network of diffusers in half precision; it keeps its own."""
    copy.deepcopy(vae).half().save_pretrained(out)


def reconstruction_quality(vae, unseen: dict[str, np.ndarray]) -> dict:
    """A line of the log: the PSNR of named tiles that went through ``vae``."""
    return {"psnr": {name: round(reconstruction_psnr(vae, tiles), 2) for name, tiles in unseen.items()}}


def draw_batch(images: np.ndarray, count: int, draw: np.random.Generator, *, side: int) -> torch.Tensor:
    """Crops ``[count, 3, side, side]`` in [-1, 1], turned together."""
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
def reconstructions(vae, images: np.ndarray, batch_size: int = 100):
    """Batches ``(decoded, original)`` of uint8 tiles ``[N, H, W, 3]`` that go through the posterior's mean.

    Yields:
        Float tensors ``[B, 3, H, W]`` in [0, 1].
    """
    for start in range(0, len(images), batch_size):
        x = torch.from_numpy(images[start : start + batch_size]).permute(0, 3, 1, 2).float() / 255
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
