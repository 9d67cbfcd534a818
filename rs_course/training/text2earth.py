"""mini-text2earth: text and a resolution level to tiles, real Sentinel-2 looks among them.

    rs-course train mini-text2earth

The UNet of Text2Earth (Liu et al. 2025, doi 10.1109/MGRS.2025.3560455) at course scale: the level goes
through the timestep's own sinusoid (``class_embed_type="timestep"``) and is dropped together with the text.
"""

from __future__ import annotations

import numpy as np
import torch

from . import grids, latent
from .mixture import eurosat_tiles, simulated_sentence, simulated_tiles, with_level
from .scenes import Tiles

UNET = latent.UNET | {
    "block_out_channels": (64, 80, 96),
    "attention_head_dim": (4, 5, 6),
    "class_embed_type": "timestep",
}
PIPELINE = "Text2EarthDiffusionPipeline"
DROP = 0.1  # share of tiles trained without text and level (Ho & Salimans 2022)
REAL = 0.75  # share of real tiles in a batch; they are harder to learn than the simulated ones


class Denoiser(torch.nn.Module):
    """``(x_t, t, text states, levels)`` to v; what an inpainting UNet also sees comes last."""

    def __init__(self, unet):
        super().__init__()
        self.unet = unet

    def forward(self, x, t, states, levels, around=None):
        x = x if around is None else torch.cat([x, around.to(x)], 1)
        return self.unet(x, t, states, class_labels=levels).sample


def train(
    out, *, minutes=80, seed=0, resume=True, data="eurosat", simulated=6_000, scenes=6_000, start=None,
    batch=32, **options,
):  # fmt: skip
    """Train on EuroSAT's training split and on simulated scenes of several resolutions.

    Args:
        out: Folder of the checkpoint; the training state lies there too.
        minutes: Time for the whole training, over all resumed runs.
        seed: Of weights, batches, steps and noise.
        resume: Go on where an interrupted training stopped.
        data: EuroSAT, as a name or path that ``rs_course.datasets.load`` takes.
        simulated, scenes: Simulated tiles of the simulator's own choice, and under many conditions.
        start: Name or folder of a checkpoint of the same network to go on from.
        batch: Tiles a step.
        options: Of :func:`rs_course.training.latent.fit`.
    """
    from diffusers import UNet2DConditionModel

    vae, tokenizer, text_encoder, folders = latent.shared_parts()
    texts = latent.Texts(tokenizer, text_encoder)
    real, drawn = eurosat_tiles(data), simulated_tiles(simulated, scenes)
    torch.manual_seed(seed)  # the initial weights; every later draw has its own generator
    network = Denoiser(UNet2DConditionModel(**UNET))
    sources = [
        (REAL, real, latent.encode(vae, real.images, views=latent.VIEWS)),
        (1 - REAL, drawn, latent.encode(vae, drawn.images)),
    ]

    def make(first):
        return batches(sources, texts, seed, first, batch)

    def save(network, out):
        latent.save_pipeline(out, network.unet, PIPELINE, folders)

    # Every noise level weighs alike. Min-SNR weighting would leave the noisiest ones, where colour and layout
    # are decided, nearly untrained, and a road that does not cross the whole tile is not a highway.
    options = {"min_snr": None, "draw": grids.of_classes("eurosat")} | options
    return latent.fit(
        out, network, make, save, minutes=minutes, seed=seed, resume=resume, start=start, **options
    )


def batches(sources: list[tuple[float, Tiles, torch.Tensor]], texts, seed: int, first: int, size: int = 32):
    """Endless batches ``(x0 [B, 4, 16, 16], states [B, 77, D], levels [B])``; batch k depends on (seed, k).

    Args:
        sources: Share of the batch, tiles, and their latents ``[N, views, 4, 16, 16]``.
        texts: Sentences to states.
        seed, first: Which batches.
        size: Tiles a batch.
    """
    k = first
    while True:
        draw = np.random.default_rng([seed, k])
        x0, prompts = [], []
        for tiles, encoded, chosen in drawn_rows(sources, size, draw):
            views = draw.integers(encoded.shape[1], size=len(chosen))
            x0.append(encoded[chosen, views].float())
            prompts += [prompt_of(tiles, i, draw) for i in chosen]
        yield torch.cat(x0), *told(prompts, texts, draw)
        k += 1


def drawn_rows(sources, size: int, draw) -> list[tuple[Tiles, object, np.ndarray]]:
    """Rows of each source for one batch, by its share."""
    counts = [round(share * size) for share, _, _ in sources]
    return [
        (tiles, content, draw.integers(len(tiles.images), size=count))
        for (_, tiles, content), count in zip(sources, counts, strict=True)
    ]


def prompt_of(tiles: Tiles, i: int, draw) -> str:
    """The class prompt for half of the tiles, one or two other sentences for the rest, behind the level."""
    own, gsd = tiles.captions[i], tiles.metadata[i]["gsd"]
    if "year" in tiles.metadata[i]:
        sentence = simulated_sentence(tiles, i, draw)
    else:  # nobody knows when a EuroSAT tile was taken
        sentence = own[0] if draw.random() < 0.7 else own[draw.integers(len(own))]
    return with_level(sentence, gsd)


def told(prompts: list[str], texts, draw) -> tuple[torch.Tensor, torch.Tensor]:
    """Text states and levels; both dropped together for a share ``DROP``."""
    from rs_course.checkpoints.prompts import parse_level

    heard = [(0, "") if draw.random() < DROP else parse_level(prompt) for prompt in prompts]
    return texts([text for _, text in heard]), torch.tensor([float(level) for level, _ in heard])
