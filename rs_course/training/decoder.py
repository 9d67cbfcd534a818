"""mini-vae's decoder, taught to draw texture: the encoder stays, so every generator's latents stay valid.

    rs-course train mini-vae-decoder

An autoencoder that minimises the squared error answers with the mean of all textures that a latent allows,
which is smooth: at 35 dB, a classifier took reconstructed streets for meadows. So, as Rombach et al. 2022
(arXiv 2112.10752, appendix G) do, the decoder also has to look right to two others: to the features of a
classifier that saw the training tiles (in the place of LPIPS, Zhang et al. 2018, arXiv 1801.03924, whose
network has never seen a satellite image), and to a critic that tells decoded patches from true ones (Isola et
al. 2017, arXiv 1611.07004).
"""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from rs_course import precision
from rs_course.diffusion.learning import EMA
from rs_course.diffusion.pixel import from_pixels

from .clock import Clock
from .state import restore_state, save_state
from .vae import reconstruction_psnr

SQUARED, CRITIC = 100.0, 0.5  # weights beside the distance of features; the critic's is relative to both
CRITIC_FROM = 200  # steps: the critic speaks once it has something to say


class Critic(nn.Module):
    """Scores of patches of 18×18 pixels, above zero for true ones: ``[N, 3, H, W]`` to ``[N, 1, h, w]``."""

    def __init__(self, width: int = 32):
        super().__init__()
        norm = nn.utils.parametrizations.spectral_norm
        self.layers = nn.Sequential(
            norm(nn.Conv2d(3, width, 4, 2, 1)),
            nn.LeakyReLU(0.2),
            norm(nn.Conv2d(width, 2 * width, 4, 2, 1)),
            nn.LeakyReLU(0.2),
            norm(nn.Conv2d(2 * width, 2 * width, 3, 1, 1)),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 1, 1),
        )

    def forward(self, x):
        return self.layers(x)


class FeatureDistance(nn.Module):
    """Distance of two batches in the feature maps of a classifier (``small-cnn``), as LPIPS takes it.

    Args:
        classifier: From :func:`rs_course.classification.fit`; not trained here.
    """

    def __init__(self, classifier):
        super().__init__()
        self.classifier = classifier.eval().requires_grad_(False)

    def features(self, x) -> list[torch.Tensor]:
        """Feature maps of images in [-1, 1] behind each block, each position of unit length."""
        h = (x / 2 + 0.5 - self.classifier.mean) / self.classifier.std
        maps = []
        for layer in self.classifier.body[:-3]:  # what comes after the blocks knows no place any more
            h = layer(h)
            if not isinstance(layer, nn.Conv2d | nn.BatchNorm2d):
                maps.append(F.normalize(h, dim=1))
        return maps

    def forward(self, x, y) -> torch.Tensor:
        pairs = zip(self.features(x), self.features(y), strict=True)
        return sum((a - b).square().sum(1).mean() for a, b in pairs)


def train(out, *, minutes=25, seed=0, resume=True, data="eurosat", simulated=6_000, start="mini-vae"):
    """Train the decoder on the tiles that ``vae.train`` learnt from.

    Args:
        out: Folder of the model in the diffusers layout; the training state and ``log.jsonl`` lie there too.
        minutes: Time for the whole training, over all resumed runs.
        seed: Of the critic, the batches and the classifiers whose features are compared.
        resume: Go on where an interrupted training stopped.
        data: EuroSAT, as a name or path that ``rs_course.datasets.load`` takes.
        simulated: Number of simulated tiles.
        start: Name or folder of the autoencoder.
    """
    from diffusers import AutoencoderKL

    from rs_course import classification, datasets
    from rs_course.checkpoints.load import locate
    from rs_course.checkpoints.loading import load_model

    sets = {"eurosat": (data, None), "simulated": ("simulated", simulated)}
    tiles = [datasets.load(source, "train", size=size) for source, size in sets.values()]
    images = np.concatenate([np.asarray(one.images) for one in tiles])
    labels = np.concatenate([one.labels + 10 * k for k, one in enumerate(tiles)])
    unseen = {name: np.asarray(datasets.load(s, "test", size=200).images) for name, (s, _) in sets.items()}
    vae = load_model(AutoencoderKL, locate(start), torch.float32)
    known = Path(out) / "features.pt"
    if not (resume and known.exists()):
        known.parent.mkdir(parents=True, exist_ok=True)
        torch.save(classification.fit(images, labels, seed=1_000 + seed, epochs=5).state_dict(), known)
    classifier = classification.build("small-cnn", 20, seed=seed)
    classifier.load_state_dict(torch.load(known, weights_only=True))
    return fit(
        out, vae, images, unseen, FeatureDistance(classifier), minutes=minutes, seed=seed, resume=resume
    )


def fit(
    out,
    vae,
    images: np.ndarray,
    unseen: dict[str, np.ndarray],
    distance: nn.Module,
    *,
    minutes: float,
    seed: int = 0,
    resume: bool = True,
    batch: int = 12,
    lr: float = 4e-4,
    log_every: int = 200,
):
    """Train the decoder of ``vae`` and write the averaged weights to ``out``, in half precision.

    Args:
        out, minutes, seed, resume: See :func:`train`.
        vae: ``AutoencoderKL``; its encoder is not changed.
        images: Training tiles, uint8 ``[N, H, W, 3]``.
        unseen: Tiles by name; their reconstruction PSNR is logged.
        distance: From two batches in [-1, 1] to a number.
        batch: Tiles a step.
        lr: Learning rate of decoder and critic; over the second half it falls to zero.
        log_every: Steps between two lines of the log, at which the state is saved.

    Returns:
        The averaged ``AutoencoderKL``.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    vae.requires_grad_(False)
    latents = posteriors(vae, images)
    torch.manual_seed(seed)  # the critic's initial weights; every later draw has its own generator
    critic, ema = Critic(), EMA(vae, 0.998)
    painter = [*vae.post_quant_conv.parameters(), *vae.decoder.parameters()]
    for parameter in painter:
        parameter.requires_grad_(True)
    learned = [*painter, *critic.parameters()]
    optimizer = torch.optim.AdamW(learned, lr=lr, betas=(0.5, 0.99), weight_decay=1e-4)
    both, clock, step = nn.ModuleDict({"vae": vae, "critic": critic}), Clock(minutes), 0
    if resume and (left := restore_state(out, both, ema, optimizer)):
        step = ema.updates = left["step"]
        clock.spent(left["seconds"])

    while clock.share < 1:
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1, (step + 1) / 100) * min(1, 2 - 2 * clock.share)
        x, z = draw_batch(images, latents, batch, seed, step)
        with precision.fast(x.device.type):
            gradients, numbers = gradients_of(vae, critic, distance, x, z, painter, heard=step >= CRITIC_FROM)
        for parameter, gradient in zip(learned, gradients, strict=True):
            parameter.grad = gradient
        torch.nn.utils.clip_grad_norm_(painter, 1.0)
        optimizer.step()
        ema.update(vae)
        step += 1
        if step % log_every == 0 or clock.share >= 1:
            psnr = {name: round(reconstruction_psnr(ema.model, tiles), 2) for name, tiles in unseen.items()}
            line = {"step": step, "seconds": round(clock.seconds), **numbers, "psnr": psnr}
            with (out / "log.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
            save_state(out, both, ema, optimizer, step=step, seconds=clock.seconds)
            copy.deepcopy(ema.model).half().save_pretrained(out)
    return ema.model


def gradients_of(vae, critic, distance, x, z, painter, *, heard: bool) -> tuple[list[torch.Tensor], dict]:
    """Gradients of the decoder's and the critic's losses, and the parts of these losses as numbers.

    Args:
        x, z: True tiles in [-1, 1] and their latents.
        painter: The decoder's parameters.
        heard: Whether the decoder listens to the critic.
    """
    y = vae.decode(z).sample.float()
    squared, features = F.mse_loss(y, x), distance(y, x).float()
    loss, adversarial = SQUARED * squared + features, -critic(y).float().mean()
    if heard:  # as loud as all else, at the last layer (Esser et al. 2021, arXiv 2012.09841, equation 7)
        last = vae.decoder.conv_out.weight
        norms = [torch.autograd.grad(part, last, retain_graph=True)[0].norm() for part in (loss, adversarial)]
        loss = loss + CRITIC * (norms[0] / (norms[1] + 1e-6)).clamp(max=1e4) * adversarial
    gradients = [*torch.autograd.grad(loss, painter)]
    hinge = F.relu(1 - critic(x).float()).mean() + F.relu(1 + critic(y.detach()).float()).mean()
    gradients += torch.autograd.grad(hinge, [*critic.parameters()])
    numbers = {"mse": squared.item(), "features": features.item(), "critic": hinge.item()}
    return gradients, {name: round(value, 5) for name, value in numbers.items()}


@torch.inference_mode()
def posteriors(vae, images: np.ndarray, batch: int = 50) -> torch.Tensor:
    """Mean and standard deviation of the latents of all tiles: float16 ``[N, 2, C, h, w]``."""
    parts = []
    for start in range(0, len(images), batch):
        with precision.fast():
            posterior = vae.encode(
                from_pixels(np.ascontiguousarray(images[start : start + batch]))
            ).latent_dist
        parts.append(torch.stack([posterior.mean, posterior.std], 1).half())
    return torch.cat(parts).clone()


def draw_batch(images: np.ndarray, latents: torch.Tensor, count: int, seed: int, step: int):
    """Tiles ``[count, 3, H, W]`` in [-1, 1] and a draw of their latents; a function of (seed, step)."""
    chosen = np.random.default_rng([seed, step]).integers(len(images), size=count)
    mean, spread = latents[chosen].float().unbind(1)
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(seed * 1_000_003 + step))
    return from_pixels(images[chosen]), mean + spread * noise
