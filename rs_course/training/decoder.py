"""mini-vae, second edition: taught to keep texture, in latents close to those that the generators know.

    rs-course train mini-vae-decoder

An autoencoder that minimises the squared error answers with the mean of all textures that a latent allows,
which is smooth: of the power above a quarter of the sampling frequency it kept a fifth, at 35 dB, and a
classifier took reconstructed streets for meadows. So the decoder also has to match how strong each band of
fine detail is, window by window, which nothing smooth can, whatever its squared error; and to look right,
place by place, to classifiers that saw the training tiles (as in LPIPS, Zhang et al. 2018, arXiv 1801.03924,
whose own network has never seen a satellite image), which must also see the same class. A decoder alone
cannot draw what its latents do not tell: real tiles through it were recognised at 82 %, untouched ones at
91 %. So the encoder learns too, held to the first edition's latents, so that a generator trained in those
has little to learn again.
"""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from rs_course import precision, training_loop
from rs_course.diffusion.pixel import from_pixels
from rs_course.training_loop import EMA, Budget, Recipe, by_step, linear_decay

from .vae import reconstruction_quality, save_half, tile_sets

RECIPE = Recipe(lr=1e-3, decay=linear_decay(0.5), warmup=100, weight_decay=1e-4, log_every=200)
WEIGHTS = {"squared": 10.0, "features": 1.0, "energy": 4.0, "class": 1.0, "drift": 1.0, "kl": 0.02}
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

    def features(self, x) -> list[torch.Tensor]:
        """Feature maps ``[N, C, H, W]`` of images in [-1, 1]: first layer, each block, their mean."""
        h, maps = (x / 2 + 0.5 - self.classifier.mean) / self.classifier.std, []
        for layer in self.classifier.body[:-2]:  # all but the flattening and the scores
            h = layer(h)
            if not isinstance(layer, nn.Conv2d | nn.BatchNorm2d):
                maps.append(F.normalize(h, dim=1))
        return maps

    def forward(self, x, y) -> tuple[torch.Tensor, torch.Tensor]:
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


def train(out, *, minutes=25, seed=0, resume=True, data="eurosat", simulated=6_000, start="mini-vae"):
    """Train the autoencoder on the tiles that ``vae.train`` learnt from.

    Args:
        out, minutes, seed, resume: As of every mini, see :mod:`rs_course.training`.
        data: EuroSAT, as a name or path that ``rs_course.datasets.load`` takes.
        simulated: Number of simulated tiles.
        start: Name or folder of the autoencoder.
    """
    from diffusers import AutoencoderKL

    from rs_course import classification
    from rs_course.checkpoints.loading import load_model, locate

    tiles, unseen = tile_sets(data, simulated)
    images = np.concatenate([np.asarray(one.images) for one in tiles])
    labels = np.concatenate([one.labels + 10 * k for k, one in enumerate(tiles)])
    vae = load_model(AutoencoderKL, locate(start), torch.float32)
    judges = []
    for k in range(JUDGES):
        known = Path(out) / f"judge_{k}.pt"
        if not (resume and known.exists()):
            known.parent.mkdir(parents=True, exist_ok=True)
            judge = classification.fit(images, labels, seed=1_000 * (k + 1) + seed, epochs=5)
            torch.save(judge.state_dict(), known)
        judge = classification.build("small-cnn", 20, seed=seed)
        judge.load_state_dict(torch.load(known, weights_only=True))
        judges.append(FeatureDistance(judge))
    return fit(out, vae, images, unseen, judges, budget=Budget(minutes), seed=seed, resume=resume)


def fit(
    out,
    vae,
    images: np.ndarray,
    unseen: dict[str, np.ndarray],
    judges: list[nn.Module],
    *,
    budget: Budget,
    seed: int = 0,
    resume: bool = True,
    batch_size: int = 16,
    recipe: Recipe = RECIPE,
):
    """Train ``vae`` and write the averaged weights to ``out``, in half precision.

    Args:
        out, seed, resume: See :func:`train`.
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
            parts = losses(vae, judges[step % len(judges)], x, known, seed=seed * 1_000_003 + step)
        return {"total": sum(WEIGHTS[name] * part for name, part in parts.items()), **parts}

    options = {"ema": ema, "out": Path(out), "resume": resume, "save": lambda _: save_half(ema.module, out)}
    options["evaluate"] = lambda: reconstruction_quality(ema.module, unseen)
    for _ in training_loop.fit(vae, by_step(batch, seed), loss, recipe, budget, **options):
        pass
    return ema.module


def losses(vae, judge, x, known, *, seed: int) -> dict[str, torch.Tensor]:
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
def posterior_means(vae, images: np.ndarray, batch_size: int = 50) -> torch.Tensor:
    """Means of the latents of all uint8 tiles ``[N, H, W, 3]``: float16 ``[N, C, h, w]``."""
    parts = []
    for start in range(0, len(images), batch_size):
        with precision.fast():
            x = from_pixels(np.ascontiguousarray(images[start : start + batch_size]))
            parts.append(vae.encode(x).latent_dist.mean.half())
    return torch.cat(parts).clone()
