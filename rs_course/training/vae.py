"""mini-vae: the autoencoder whose latents all mini generators share.

    rs-course train mini-vae
    rs-course train mini-vae-decoder

An ``AutoencoderKL`` (Rombach et al. 2022, arXiv 2112.10752) with factor 4 instead of 8, because a tile of
64×64 pixels at 10 m holds fields of a few pixels: 64×64×3 becomes 16×16×4. It learns real EuroSAT tiles and
simulated ones.

Second edition (:func:`train_decoder`): taught to keep texture, in latents close to those that the generators
know. What minimises the squared error is the mean of all textures that a latent allows, which is smooth: of
the power above a quarter of the sampling frequency the first edition kept a fifth, at 35 dB, and a classifier
took reconstructed streets for meadows. So the decoder also has to match how strong each band of fine detail
is, window by window; and to look right, place by place, to classifiers that saw the training tiles (as in
LPIPS, Zhang et al. 2018, arXiv 1801.03924, whose own network has never seen a satellite image), which must
also see the same class. A decoder alone cannot draw what its latents do not tell (real tiles through it:
recognised at 82 %, untouched 91 %), so the encoder learns too, held to the first latents, in which trained
generators have little to learn again.
"""

from __future__ import annotations

import copy
import itertools
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from rs_course import precision, seeds, training_loop
from rs_course.diffusion.pixel import from_pixels
from rs_course.training_loop import EMA, Budget, Recipe, by_step, cosine_decay, linear_decay

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

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


def train(
    out: str | Path,
    *,
    minutes: float | None = 10,
    seed: int = 0,
    resume: bool = True,
    data: Any = "eurosat",
    simulated: int = 6_000,
):
    """Train on EuroSAT's training split and on tiles of the simulated Earth; arguments as of every mini."""
    tiles, unseen = tile_sets(data, simulated)
    images = np.concatenate([np.asarray(one.images) for one in tiles])
    return fit(out, images, unseen, budget=Budget(minutes), seed=seed, resume=resume)


def tile_sets(data: Any, simulated: int) -> tuple[list, dict[str, np.ndarray]]:
    """The training splits, EuroSAT's and the simulated one, and 200 unseen tiles of each by name."""
    from rs_course import datasets

    sets = {"eurosat": (data, None), "simulated": ("simulated", simulated)}
    seen = [datasets.load(source, "train", size=size) for source, size in sets.values()]
    unseen = {name: datasets.load(source, "test", size=200).images for name, (source, _) in sets.items()}
    return seen, {name: np.asarray(images) for name, images in unseen.items()}


def fit(
    out: str | Path, images: np.ndarray, unseen: dict[str, np.ndarray], *, budget: Budget, seed: int = 0,
    resume: bool = True, batch_size: int = 32, recipe: Recipe = RECIPE, model: dict | None = None,
):  # fmt: skip
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

    return _run(vae, batches, loss, recipe, budget, ema, unseen, out=Path(out), resume=resume, save=save)


def _run(vae, batches, loss, recipe: Recipe, budget: Budget, ema: EMA, unseen: dict, **options):
    """Train to the end, the PSNR of unseen tiles in every line of the log; returns the averaged network."""
    options |= {"ema": ema, "evaluate": lambda: reconstruction_quality(ema.module, unseen)}
    training_loop.run(training_loop.fit(vae, batches, loss, recipe, budget, **options))
    return ema.module


def save_half(vae: AutoencoderKL, out: str | Path) -> None:
    """Write a network of diffusers in half precision; it keeps its own."""
    copy.deepcopy(vae).half().save_pretrained(out)


def reconstruction_quality(vae: AutoencoderKL, unseen: dict[str, np.ndarray]) -> dict:
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


def loss_terms(vae: AutoencoderKL, x: torch.Tensor, *, seed: int):
    """Squared error, gradient error and KL divergence of a batch in [-1, 1], each a mean per pixel value."""
    with precision.fast(x.device.type):
        posterior = vae.encode(x).latent_dist
        y = vae.decode(posterior.sample(torch.Generator(x.device).manual_seed(seed))).sample
    error = y.float() - x
    # Differences of neighbours count too, because the squared error alone averages field edges away.
    gradient = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
    return error.square().mean(), gradient, posterior.kl().float().mean() / x[0].numel()


@torch.no_grad()
def reconstructions(vae: AutoencoderKL, images: np.ndarray):
    """Batches ``(decoded, original)`` of uint8 tiles ``[N, H, W, 3]`` that go through the posterior's mean.

    Yields:
        Float tensors ``[B, 3, H, W]`` in [0, 1].
    """
    for start in range(0, len(images), 100):
        x = torch.from_numpy(images[start : start + 100]).permute(0, 3, 1, 2).float() / 255
        y = vae.decode(vae.encode(2 * x - 1).latent_dist.mean).sample
        yield (y / 2 + 0.5).clamp(0, 1), x


def reconstruction_psnr(vae: AutoencoderKL, images: np.ndarray) -> float:
    """Mean PSNR in dB of uint8 tiles ``[N, H, W, 3]``, encoded to the posterior's mean and decoded."""
    from rs_course.metrics import psnr

    return torch.cat([psnr(y, x) for y, x in reconstructions(vae, images)]).mean().item()


@torch.no_grad()
def scaling_factor(vae: AutoencoderKL, images: np.ndarray) -> float:
    """One over the standard deviation of the latents, so that the generators see unit variance."""
    x = from_pixels(images[:: max(1, len(images) // 512)])
    return round(1 / vae.encode(x).latent_dist.mean.std().item(), 5)


DECODER_RECIPE = Recipe(lr=1e-3, decay=linear_decay(0.5), warmup=100, weight_decay=1e-4, log_every=200)
DECODER_WEIGHTS = {"squared": 10.0, "features": 1.0, "energy": 4.0, "class": 1.0, "drift": 1.0, "kl": 0.02}
JUDGES = 3  # classifiers; each step is judged by one, so that the autoencoder cannot learn one's weak spots
WINDOW, FAINT = 8, 1e-4  # pixels; and the energy, in [-1, 1] units, below which a band counts as empty


class FeatureDistance(nn.Module):
    """Distance of two batches in the feature maps of a classifier (``small-cnn``).

    Args:
        classifier: From :func:`rs_course.classification.fit`; not trained here.
    """

    def __init__(self, classifier):
        super().__init__()
        self.classifier = classifier.eval().requires_grad_(False)

    def features(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Feature maps ``[N, C, H, W]`` of images in [-1, 1]: first layer, each block, their mean."""
        h, maps = (x / 2 + 0.5 - self.classifier.mean) / self.classifier.std, []
        for layer in self.classifier.body[:-2]:  # all but the flattening and the scores
            h = layer(h)
            if not isinstance(layer, nn.Conv2d | nn.BatchNorm2d):
                maps.append(F.normalize(h, dim=1))
        return maps

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Distance of the features of ``y`` from those of ``x``, and the divergence of the classes seen."""
        seen, drawn = self.features(x), self.features(y)
        distance = sum((a - b).square().sum(1).mean() for a, b in zip(seen, drawn, strict=True))
        true, found = (self.classifier(z / 2 + 0.5).float().log_softmax(1) for z in (x, y))
        return distance, F.kl_div(found, true, reduction="batchmean", log_target=True)


def energies(x: torch.Tensor) -> list[torch.Tensor]:
    """How strong fine detail is: log energies of :func:`bands_of`, in windows of 8×8 pixels.

    Args:
        x: ``[N, 3, H, W]`` in [-1, 1].

    Returns:
        Two tensors ``[N, 24, h, w]``: of the images as they are, and at half their size.
    """
    squares = [bands_of(one).square() for one in (x, F.avg_pool2d(x, 2))]
    return [(F.avg_pool2d(one, WINDOW, WINDOW // 2) + FAINT).log() for one in squares]


def bands_of(x: torch.Tensor) -> torch.Tensor:
    """The eight 3×3 cosines that are not constant (DCT-II, Ahmed et al. 1974), per colour.

    Args:
        x: ``[N, 3, H, W]``.

    Returns:
        ``[N, 24, H - 2, W - 2]``.
    """
    place = torch.arange(3, dtype=x.dtype, device=x.device)
    cosines = F.normalize(torch.stack([torch.cos(torch.pi * (place + 0.5) * k / 3) for k in range(3)]), dim=1)
    products = torch.einsum("ai,bj->abij", cosines, cosines).flatten(0, 1)[1:]
    return F.conv2d(x, products[:, None].repeat(3, 1, 1, 1), groups=3)


def train_decoder(
    out: str | Path,
    *,
    minutes: float | None = 25,
    seed: int = 0,
    resume: bool = True,
    data: Any = "eurosat",
    simulated: int = 6_000,
    start: str | Path | None = "mini-vae",
):
    """Train the autoencoder ``start`` on the tiles that :func:`train` learnt from."""
    from diffusers import AutoencoderKL

    from rs_course import classification
    from rs_course.checkpoints.loading import load_model, locate

    tiles, unseen = tile_sets(data, simulated)
    images = np.concatenate([np.asarray(one.images) for one in tiles])
    labels = np.concatenate([one.labels + 10 * k for k, one in enumerate(tiles)])
    vae = load_model(AutoencoderKL, locate(start), torch.float32)
    judges = []
    for k in range(JUDGES):
        learn = partial(classification.fit, images, labels, seed=1_000 * (k + 1) + seed, epochs=5)
        fresh = classification.build("small-cnn", 20)
        judge = training_loop.once(Path(out) / f"judge_{k}.pt", fresh, learn, anew=not resume)
        judges.append(FeatureDistance(judge))
    return fit_decoder(out, vae, images, unseen, judges, budget=Budget(minutes), seed=seed, resume=resume)


def fit_decoder(
    out: str | Path,
    vae: AutoencoderKL,
    images: np.ndarray,
    unseen: dict[str, np.ndarray],
    judges: list[nn.Module],
    *,
    budget: Budget,
    seed: int = 0,
    resume: bool = True,
    batch_size: int = 16,
    recipe: Recipe = DECODER_RECIPE,
):
    """Train ``vae`` and write the averaged weights to ``out``, in half precision.

    Args:
        out, seed, resume: See :func:`train_decoder`.
        vae: ``AutoencoderKL``, trained in place.
        images: Training tiles, uint8 ``[N, H, W, 3]``.
        unseen: Tiles by name; their reconstruction PSNR is logged.
        judges: From two batches in [-1, 1] to two numbers, see :class:`FeatureDistance`; they take turns.
        budget: Length of the whole training.
        batch_size: Tiles a step.
        recipe: How it is trained.

    Returns:
        The averaged ``AutoencoderKL``.
    """
    vae.requires_grad_(True)
    first = posterior_means(copy.deepcopy(vae), images)
    ema = EMA(vae, 0.998)

    def batch(draw):
        chosen = draw.integers(len(images), size=batch_size)
        return from_pixels(images[chosen]), first[chosen].float()

    def loss(batch, step):
        x, known = batch
        with precision.fast(x.device.type):
            parts = decoder_losses(vae, judges[step % len(judges)], x, known, seed=seed * 1_000_003 + step)
        return {"total": sum(DECODER_WEIGHTS[name] * part for name, part in parts.items()), **parts}

    options = {"out": Path(out), "resume": resume, "save": lambda _: save_half(ema.module, out)}
    return _run(vae, by_step(batch, seed), loss, recipe, budget, ema, unseen, **options)


def decoder_losses(
    vae: AutoencoderKL, judge: torch.nn.Module, x: torch.Tensor, known: torch.Tensor, *, seed: int
) -> dict[str, torch.Tensor]:
    """What is wrong with the tiles ``x`` in [-1, 1] that went through ``vae``, and with their latents.

    Args:
        judge: See :class:`FeatureDistance`.
        known: The first edition's latents ``[N, C, h, w]`` of ``x``.
        seed: Of the draw from the posterior.
    """
    posterior = vae.encode(x).latent_dist
    y = vae.decode(posterior.sample(torch.Generator(x.device).manual_seed(seed))).sample.float()
    energy = sum(F.l1_loss(a, b) for a, b in zip(energies(y), energies(x), strict=True))
    distance, divergence = judge(x, y)
    return {
        "squared": F.mse_loss(y, x),
        "features": distance.float(),
        "energy": energy,
        "class": divergence,
        "drift": F.mse_loss(posterior.mean.float(), known) * vae.config.scaling_factor**2,
        "kl": posterior.kl().float().mean() / x[0].numel(),
    }


@torch.inference_mode()
def posterior_means(vae: AutoencoderKL, images: np.ndarray) -> torch.Tensor:
    """Means of the latents of all uint8 tiles ``[N, H, W, 3]``: float16 ``[N, C, h, w]``."""
    parts = []
    for start in range(0, len(images), 50):
        with precision.fast():
            x = from_pixels(np.ascontiguousarray(images[start : start + 50]))
            parts.append(vae.encode(x).latent_dist.mean.half())
    return torch.cat(parts).clone()
