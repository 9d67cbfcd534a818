"""mini-text2earth-inpainting: the twin that sees a mask and what lies around it.

    rs-course train mini-text2earth-inpainting

It goes on from mini-text2earth: the five new input channels (mask, latents of the masked tile) start at zero,
so at first the twin paints what its parent would.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from rs_course import precision
from rs_course.diffusion.pixel import from_pixels

from . import grids, latent
from .mixture import eurosat_tiles, simulated_tiles, with_level
from .text2earth import PIPELINE, REAL, UNET, Denoiser, drawn_rows, prompt_of, told

WHOLE = 0.2  # share of masks that cover the whole tile, so that the twin can paint freely too


def train(
    out, *, minutes=20, seed=0, resume=True, data="eurosat", simulated=6_000, scenes=6_000, batch=32,
    parent="mini-text2earth", **options,
):  # fmt: skip
    """Train on the tiles of mini-text2earth, from its weights; arguments as in ``text2earth.train``.

    The text tower is the parent's and stays as it is.
    """
    vae, tokenizer, text_encoder, folders = latent.shared_parts(text_encoder=parent)
    folders["text_encoder"] = latent.own_tower(parent) or folders["text_encoder"]
    words = latent.Words(tokenizer)
    tiles = eurosat_tiles(data), simulated_tiles(simulated, scenes)
    sources = [
        (share, one, latent.encode(vae, one.images)[:, 0])
        for share, one in zip((REAL, 1 - REAL), tiles, strict=True)
    ]
    network = Denoiser(from_parent(parent), text_encoder)
    network.texts.requires_grad_(False)

    def make(first):
        return batches(sources, vae, words, seed, first, batch)

    def save(network, out):
        latent.save_pipeline(out, network.unet, PIPELINE, folders)

    options = {"lr": 4e-4, "min_snr": None, "draw": repainted(tiles[1])} | options
    return latent.fit(out, network, make, save, minutes=minutes, seed=seed, resume=resume, **options)


def repainted(tiles):
    """Ten tiles whose middle is painted anew, for the samples."""
    from rs_course import checkpoints, datasets

    picture = checkpoints.images.images(tiles.images[:10])
    mask = torch.zeros(1, 1, *picture.shape[-2:])
    mask[..., 16:-16, 16:-16] = 1
    prompts = [with_level(datasets.class_prompt(int(label)), 10.0) for label in tiles.labels[:10]]

    def sample(out):
        return checkpoints.load(out).sample(prompts, image=picture, mask=mask, **grids.SETTINGS)

    return grids.beside({"the tile": picture, "without": picture * (1 - mask)}, sample)


def from_parent(parent):
    """A nine-channel UNet with its parent's weights; what it newly sees counts nothing yet."""
    from diffusers import UNet2DConditionModel

    own, known = UNet2DConditionModel(**{**UNET, "in_channels": 9}), UNet2DConditionModel(**UNET)
    latent.begin_from(known, parent)
    weight = torch.zeros_like(own.conv_in.weight)
    weight[:, :4] = known.conv_in.weight.detach()
    own.load_state_dict({**known.state_dict(), "conv_in.weight": weight})
    return own


def batches(sources, vae, words, seed: int, first: int, size: int = 32):
    """Endless batches ``(x0, token numbers, levels, around [B, 5, 16, 16])``; batch k depends on (seed, k).

    Args:
        sources: Share of the batch, tiles, and their latents ``[N, 4, 16, 16]``.
        vae: Encodes the masked tiles.
        words: Sentences to token numbers.
        seed, first: Which batches.
        size: Tiles a batch.
    """
    k = first
    while True:
        draw = np.random.default_rng([seed, k])
        x0, prompts, images = [], [], []
        for tiles, encoded, chosen in drawn_rows(sources, size, draw):
            x0.append(encoded[chosen].float())
            prompts += [prompt_of(tiles, i, draw) for i in chosen]
            images.append(tiles.images[chosen])
        ids, levels = told(prompts, words, draw)
        yield torch.cat(x0), ids, levels, surroundings(vae, np.concatenate(images), draw)
        k += 1


def surroundings(vae, images: np.ndarray, draw) -> torch.Tensor:
    """Mask and latents of the masked tiles, as the sampling engine computes them: ``[B, 5, h, w]``."""
    masks = torch.from_numpy(np.stack([random_mask(images.shape[1], draw) for _ in images]))[:, None]
    x, masks = from_pixels(images).to(vae.device), masks.to(vae.device)
    with torch.no_grad(), precision.fast(vae.device.type):
        seen = vae.encode(x * (masks < 0.5)).latent_dist.mean.float()
    small = F.interpolate(masks, size=seen.shape[-2:])
    return torch.cat([small, seen * vae.config.scaling_factor], 1)


def random_mask(side: int, draw) -> np.ndarray:
    """float32 ``[side, side]``, 1 is to be painted: everything, or one to three boxes or discs."""
    if draw.random() < WHOLE:
        return np.ones((side, side), np.float32)
    mask = np.zeros((side, side), np.float32)
    rows, columns = np.mgrid[:side, :side]
    for _ in range(draw.integers(1, 4)):
        (y, x), (height, width) = draw.uniform(0, side, 2), draw.uniform(side / 8, side / 2, 2)
        if draw.random() < 0.5:
            inside = (abs(rows - y) < height) & (abs(columns - x) < width)
        else:
            inside = ((rows - y) / height) ** 2 + ((columns - x) / width) ** 2 < 1
        mask[inside] = 1
    return mask
