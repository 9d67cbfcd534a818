"""mini-controlnet: the two-dimensional ControlNet of DiffusionSat beside mini-diffusionsat.

    rs-course train mini-controlnet

DiffusionSat's ControlNet (Khanna et al. 2024, section 3.2) is a copy of the frozen UNet's encoder that sees a
picture of the place and the metadata of both pictures. They say what is to change, so one network does both:
a picture with four times the gsd is to be sharpened, one of another date is to be taken through the year.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from rs_course import seeds
from rs_course.checkpoints.diffusionsat import SatControlNet
from rs_course.checkpoints.images import resize
from rs_course.checkpoints.prompts import FIELDS
from rs_course.superres.degradation import bicubic
from rs_course.training_loop import Budget, by_step

from . import latent
from .diffusionsat import DROP, DROP_FIELD, normalized
from .training_sets import MappedScenes, mapped_scenes, simulated_sentence

EMBEDDING = (16, 16, 32, 32)  # widths of the layers that read the condition picture
SCALE = 2  # the picture's 64×64 pixels become the latents' 16×16; 2 halves twice
COARSER = 4  # how many times coarser than the tile the picture is that is to be sharpened
SHARPEN = 0.5  # share of tiles that are shown coarser; the rest is shown at the other date
DROP_TEXT = 0.5  # half of the tiles without text, so that the picture is heeded (Zhang et al. 2023)


class ControlNetDenoiser(nn.Module):
    """``(x_t, t, states, picture, metadata, metadata of the picture)`` to v; the UNet is not trained."""

    def __init__(self, unet):
        super().__init__()
        self.controlnet = latent.with_plain_attention(encoder_copy(unet))
        self._frozen = (latent.with_plain_attention(unet).requires_grad_(False),)

    def forward(
        self,
        x: torch.Tensor,
        t: torch.Tensor,
        states: torch.Tensor,
        picture: torch.Tensor,
        metadata: torch.Tensor,
        cond_metadata: torch.Tensor,
    ) -> torch.Tensor:
        down, mid = self.controlnet(
            x, t, states, picture, metadata=metadata, cond_metadata=cond_metadata, return_dict=False
        )
        residuals = {"down_block_additional_residuals": down, "mid_block_additional_residual": mid}
        return self._frozen[0](x, t, states, metadata=metadata, **residuals).sample


def train(
    out: str | Path,
    *,
    minutes: float | None = 50,
    seed: int = 0,
    resume: bool = True,
    data: Any = 6_000,
    base: str | Path = "mini-diffusionsat",
    start: str | Path | None = None,
    batch_size: int = 16,
    **options,
):
    """Train on simulated scenes at two dates each.

    The arguments are those of every mini, see :mod:`rs_course.training`; ``start`` is a ControlNet.
    """
    from rs_course.checkpoints.export import write_model
    from rs_course.checkpoints.loading import load_model, locate, unet_class

    vae, tokenizer, text_encoder, _ = latent.shared_parts(text_encoder=base)
    folder = locate(base) / "unet"
    scenes = mapped_scenes(int(data))
    both = (scenes.images, scenes.other_images)
    encoded = torch.cat([latent.encode(vae, images)[:, 0] for images in both])
    with seeds.initial_weights(seed):
        network = ControlNetDenoiser(load_model(unet_class(folder), folder, torch.float32).to(vae.device))
    if start is not None:
        latent.begin_from(network.controlnet, start, part="")

    def save(network, out):
        write_model(copy.deepcopy(network.controlnet).half(), Path(out), "controlnet")

    made = batches(scenes, encoded, latent.text_states(tokenizer, text_encoder), seed, batch_size)
    options = latent.SHORT | {"sample_grid": sharpened(scenes, base)} | options
    return latent.fit(out, network, made, save, budget=Budget(minutes), seed=seed, resume=resume, **options)


def sharpened(scenes: MappedScenes, base: str | Path):
    """Ten scenes made anew from coarse pictures of them, for the samples."""
    from rs_course import checkpoints

    picture = checkpoints.images.images(scenes.images[:10])
    coarse, rows = blurred(picture), scenes.metadata[:10]
    metadata = {"metadata": rows, "cond_metadata": [{**row, "gsd": COARSER * row["gsd"]} for row in rows]}

    def sample(out):
        generator = checkpoints.load(base, controlnet=out)
        return generator.sample(
            [""] * len(coarse), image=coarse, size=picture.shape[-2:], **metadata, **latent.GRID_SETTINGS
        )

    return latent.beside({"the scene": picture, "coarser": coarse}, sample)


@torch.no_grad()
def encoder_copy(unet: torch.nn.Module) -> SatControlNet:
    """A ControlNet that starts as the UNet's encoder, with its time and metadata; its outputs are zero.

    Its middle is one residual block: the rest of the UNet's middle would add a third to the file.

    Args:
        unet: A ``SatUNet``.
    """
    same = (
        "block_out_channels", "layers_per_block", "down_block_types", "attention_head_dim", "norm_num_groups",
        "cross_attention_dim", "use_linear_projection",
    )  # fmt: skip
    net = SatControlNet(
        **{key: unet.config[key] for key in same},
        mid_block_type="UNetMidBlock2D",
        conditioning_scale=SCALE,
        conditioning_embedding_out_channels=EMBEDDING,
    )
    shared = {key: value for key, value in unet.state_dict().items() if key in net.state_dict()}
    net.load_state_dict(shared, strict=False)
    for convolution in (m for m in net.controlnet_cond_embedding.modules() if isinstance(m, nn.Conv2d)):
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")  # the default lets the picture fade
        nn.init.zeros_(convolution.bias)
    return net


def batches(scenes: MappedScenes, encoded: torch.Tensor, texts: Callable, seed: int, batch_size: int = 16):
    """Batches ``(x0 [B, 4, 16, 16], states, picture, metadata, cond_metadata [B, 7])`` from any step on.

    Args:
        scenes: Scenes at two dates; either is what is to be made.
        encoded: Latents ``[2 N, 4, 16, 16]`` of ``scenes.images``, then of ``scenes.other_images``.
        texts: Sentences to states; those of a scene describe its first date, so the second has none.
        seed: That of step k depends on (seed, k) alone.
        batch_size: Tiles a batch.
    """
    count = len(scenes.images)
    images = np.concatenate([scenes.images, scenes.other_images])
    rows = [*scenes.metadata, *scenes.other_metadata]
    known = normalized(rows)
    coarser = normalized([{**row, "gsd": COARSER * row["gsd"]} for row in rows])

    def batch(draw):
        chosen = draw.integers(2 * count, size=batch_size)
        silent = (draw.random(batch_size) < DROP_TEXT) | (chosen >= count)
        sentences = [
            "" if s else simulated_sentence(scenes, i, draw) for i, s in zip(chosen, silent, strict=True)
        ]
        sharpened = torch.from_numpy(draw.random(batch_size) < SHARPEN)
        shown = np.where(sharpened, chosen, (chosen + count) % (2 * count))
        picture = torch.from_numpy(images[shown]).permute(0, 3, 1, 2) / 255
        picture = torch.where(sharpened[:, None, None, None], blurred(picture), picture)
        cond_metadata = torch.where(sharpened[:, None], coarser[shown], known[shown])
        unknown = draw.random((batch_size, len(FIELDS))) < DROP_FIELD
        unknown = torch.from_numpy(unknown | (draw.random((batch_size, 1)) < DROP))
        told = (part.masked_fill(unknown, 0.0) for part in (known[chosen], cond_metadata))
        return encoded[chosen].float(), texts(sentences), picture, *told

    return by_step(batch, seed)


def blurred(pictures: torch.Tensor) -> torch.Tensor:
    """Shrunk :data:`COARSER` times as in super-resolution, and enlarged as the sampling engine does it."""
    return resize(bicubic(pictures, COARSER), pictures.shape[-2:])
