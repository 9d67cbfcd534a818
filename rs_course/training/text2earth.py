"""mini-text2earth: text and a resolution level to tiles, real Sentinel-2 looks among them.

    rs-course train mini-text2earth

The UNet of Text2Earth (Liu et al. 2025, doi 10.1109/MGRS.2025.3560455) at course scale: the level goes
through the timestep's own sinusoid (``class_embed_type="timestep"``) and is dropped together with the text.
"""

from __future__ import annotations

import numpy as np
import torch

from . import grids, latent
from .mixture import (
    eurosat_tiles,
    placed_captions,
    simulated_sentence,
    simulated_tiles,
    with_level,
    with_mirror_images,
)
from .scenes import Tiles

UNET = latent.UNET | {
    "block_out_channels": (64, 80, 96),
    "attention_head_dim": (2, 5, 6),
    "class_embed_type": "timestep",
}
PIPELINE = "Text2EarthDiffusionPipeline"
DROP = 0.1  # share of tiles trained without text and level (Ho & Salimans 2022)
REWORDED = 2  # sentences of ``mixture.real_captions`` beside the class prompt
REAL = 0.75  # share of real tiles in a batch; they are harder to learn than the simulated ones


class Denoiser(torch.nn.Module):
    """``(x_t, t, token numbers, levels)`` to v; what an inpainting UNet also sees comes last.

    Args:
        unet: Learns.
        text_encoder: Learns with it.
    """

    def __init__(self, unet, text_encoder):
        super().__init__()
        self.unet, self.texts = latent.with_plain_attention(unet), latent.TextStates(text_encoder)

    def forward(self, x, t, ids, levels, around=None):
        x = x if around is None else torch.cat([x, around.to(x)], 1)
        return self.unet(x, t, self.texts(ids), class_labels=levels).sample


def train(
    out, *, minutes=120, seed=0, resume=True, data="eurosat", simulated=6_000, scenes=6_000, start=None,
    batch=64, **options,
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

    words, sources, text_encoder, folders = material(data, simulated, scenes, start)
    torch.manual_seed(seed)  # the initial weights; every later draw has its own generator
    network = Denoiser(UNet2DConditionModel(**UNET), text_encoder)

    def make(first):
        return batches(sources, words, seed, first, batch)

    def save(network, out):
        latent.save_pipeline(out, network.unet, PIPELINE, folders, network.texts.tower)

    # Every noise level weighs alike. Min-SNR weighting would leave the noisiest ones, where colour and layout
    # are decided, nearly untrained, and a road that does not cross the whole tile is not a highway.
    options = {"min_snr": None, "draw": grids.of_classes("eurosat")} | options
    return latent.fit(
        out, network, make, save, minutes=minutes, seed=seed, resume=resume, start=start, **options
    )


def material(data, simulated: int, scenes: int, start=None):
    """What there is to learn from: ``Words``, sources for :func:`batches`, a text tower, shared folders."""
    vae, tokenizer, text_encoder, folders = latent.shared_parts(text_encoder=start)
    real, drawn = eurosat_tiles(data), with_mirror_images(simulated_tiles(simulated, scenes))
    sources = [
        (REAL, in_views(real), latent.encode(vae, real.images, views=latent.VIEWS).flatten(0, 1)),
        (1 - REAL, drawn, latent.encode(vae, drawn.images)[:, 0]),
    ]
    return latent.Words(tokenizer), sources, text_encoder, folders


def in_views(real: Tiles) -> Tiles:
    """Real tiles as they are turned and mirrored, with what is found in each view; without the pictures."""
    from rs_course.simulated_earth import CLASSES

    found = placed_captions(real.images, real.labels, CLASSES)
    own = [sentences for sentences in real.captions for _ in range(latent.VIEWS)]
    return Tiles(
        np.empty(0),
        real.labels.repeat(latent.VIEWS),
        [a + b for a, b in zip(own, found, strict=True)],
        [row for row in real.metadata for _ in range(latent.VIEWS)],
    )


def batches(sources: list[tuple[float, Tiles, torch.Tensor]], words, seed: int, first: int, size: int = 32):
    """Endless batches ``(x0 [B, 4, 16, 16], token numbers [B, 77], levels [B])``; batch k is by (seed, k).

    Args:
        sources: Share of the batch, tiles, and their latents ``[N, 4, 16, 16]``.
        words: Sentences to token numbers.
        seed, first: Which batches.
        size: Tiles a batch.
    """
    k = first
    while True:
        draw = np.random.default_rng([seed, k])
        x0, prompts = [], []
        for tiles, encoded, chosen in drawn_rows(sources, size, draw):
            x0.append(encoded[chosen].float())
            prompts += [prompt_of(tiles, i, draw) for i in chosen]
        yield torch.cat(x0), *told(prompts, words, draw)
        k += 1


def drawn_rows(sources, size: int, draw) -> list[tuple[Tiles, object, np.ndarray]]:
    """Rows of each source for one batch, by its share."""
    counts = [round(share * size) for share, _, _ in sources]
    return [
        (tiles, content, draw.integers(len(content), size=count))
        for (_, tiles, content), count in zip(sources, counts, strict=True)
    ]


def prompt_of(tiles: Tiles, i: int, draw) -> str:
    """The class prompt for half of the real tiles, the same with what was found in the tile where there is
    something, or the class in other words; for simulated ones as ``simulated_sentence``; behind the level.
    """
    own, gsd = tiles.captions[i], tiles.metadata[i]["gsd"]
    if "year" in tiles.metadata[i]:
        return with_level(simulated_sentence(tiles, i, draw), gsd)
    prompt, *others = own  # nobody knows when a EuroSAT tile was taken
    kind = draw.random()
    if kind < 0.3 and others[REWORDED:]:
        prompt = f"{prompt}. {others[-1]}"
    elif kind < 0.45:
        prompt = others[draw.integers(REWORDED)]
    return with_level(prompt, gsd)


def told(prompts: list[str], words, draw) -> tuple[torch.Tensor, torch.Tensor]:
    """Token numbers and levels; both dropped together for a share ``DROP``."""
    from rs_course.checkpoints.prompts import parse_level

    heard = [(0, "") if draw.random() < DROP else parse_level(prompt) for prompt in prompts]
    return words([text for _, text in heard]), torch.tensor([float(level) for level, _ in heard])
