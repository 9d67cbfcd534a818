"""Mini ControlNets for mini-diffusionsat: ×4 super-resolution, and the same place at another date.

    rs-course train mini-controlnet-superres
    rs-course train mini-controlnet-date

DiffusionSat's two-dimensional ControlNet (Khanna et al. 2024, arXiv 2312.03606, section 3.2) at course scale:
a copy of the frozen UNet's encoder that sees a condition picture and the metadata of both pictures.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from rs_course.checkpoints.controlnets import SatControlNet
from rs_course.checkpoints.metadata import FIELDS, normalize_metadata
from rs_course.superres.degradation import bicubic

from . import latent, mapped
from .diffusionsat import DROP, DROP_FIELD
from .mixture import simulated_sentence

EMBEDDING = (16, 16, 32, 32)  # widths of the layers that read the condition picture
# Output resolution over condition resolution. 8 hands the picture on at the latents' own 16×16 pixels, which
# is the ×4 smaller tile, since the autoencoder shrinks by 4; 2 halves a picture of the tile's 64×64 twice.
SCALES = {"superres": 8, "date": 2}
DROP_TEXT = 0.5  # half of the tiles without text, so that the picture is heeded (Zhang et al. 2023)


class Denoiser(nn.Module):
    """``(x_t, t, states, picture, metadata, metadata of the picture)`` to v; the UNet is not trained."""

    def __init__(self, unet, scale: int):
        super().__init__()
        self.controlnet = encoder_copy(unet, scale)
        self._frozen = (unet.requires_grad_(False),)

    def forward(self, x, t, states, picture, metadata, cond_metadata):
        down, mid = self.controlnet(
            x, t, states, picture, metadata=metadata, cond_metadata=cond_metadata, return_dict=False
        )
        residuals = {"down_block_additional_residuals": down, "mid_block_additional_residual": mid}
        return self._frozen[0](x, t, states, metadata=metadata, **residuals).sample


def train(
    out, *, minutes=20, seed=0, resume=True, data=6_000, base="mini-diffusionsat", task="superres", **options
):
    """Train one of the two on simulated scenes.

    Args:
        out: Folder of the ControlNet; the training state lies there too.
        minutes: Time for the whole training, over all resumed runs.
        seed: Of weights, batches, steps and noise.
        resume: Go on where an interrupted training stopped.
        data: Number of simulated scenes.
        base: Name or folder of the generator it is made for.
        task: ``"superres"`` or ``"date"``.
        options: Of :func:`rs_course.training.latent.fit`.
    """
    from rs_course.checkpoints.convert import write_model
    from rs_course.checkpoints.load import locate
    from rs_course.checkpoints.loading import load_model, unet_class

    vae, tokenizer, text_encoder, _ = latent.shared_parts()
    folder = locate(base) / "unet"
    scenes = mapped.scenes(int(data))
    both = (scenes.images, scenes.other_images)
    encoded = torch.cat([latent.encode(vae, images)[:, 0] for images in both])
    texts = latent.Texts(tokenizer, text_encoder)
    torch.manual_seed(seed)  # the initial weights; every later draw has its own generator
    network = Denoiser(load_model(unet_class(folder), folder, torch.float32), SCALES[task])

    def make(first):
        return batches(scenes, encoded, texts, task, seed, first)

    def save(network, out):
        write_model(copy.deepcopy(network.controlnet).half(), Path(out), "controlnet")

    options = latent.SHOWN | options
    return latent.fit(out, network, make, save, minutes=minutes, seed=seed, resume=resume, **options)


@torch.no_grad()
def encoder_copy(unet, scale: int) -> SatControlNet:
    """A ControlNet that starts as the UNet's encoder, with its time and metadata; its outputs are zero.

    Args:
        unet: A ``SatUNet``.
        scale: Output resolution over condition resolution.
    """
    same = (
        "block_out_channels", "layers_per_block", "down_block_types", "attention_head_dim", "norm_num_groups",
        "cross_attention_dim", "use_linear_projection",
    )  # fmt: skip
    net = SatControlNet(
        **{key: unet.config[key] for key in same},
        conditioning_scale=scale,
        conditioning_embedding_out_channels=EMBEDDING,
    )
    shared = {key: value for key, value in unet.state_dict().items() if key in net.state_dict()}
    net.load_state_dict(shared, strict=False)
    for convolution in (m for m in net.controlnet_cond_embedding.modules() if isinstance(m, nn.Conv2d)):
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")  # the default lets the picture fade
        nn.init.zeros_(convolution.bias)
    return net


def batches(
    scenes: mapped.MappedScenes, encoded, texts, task: str, seed: int, first: int, size: int = 16
) -> Iterator[tuple]:
    """Endless batches ``(x0 [B, 4, 16, 16], states, picture, metadata, cond_metadata [B, 7])`` by (seed, k).

    Args:
        scenes: Scenes at two dates; either is what is to be made.
        encoded: Latents ``[2 N, 4, 16, 16]`` of ``scenes.images``, then of ``scenes.other_images``.
        texts: Sentences to states; those of a scene describe its first date, so the second has none.
        task: A key of :data:`SCALES`.
        seed, first: Which batches.
        size: Tiles a batch.
    """
    count = len(scenes.images)
    images = np.concatenate([scenes.images, scenes.other_images])
    rows = [*scenes.metadata, *scenes.other_metadata]
    known = normalized(rows)
    coarser = normalized([{**row, "gsd": 4 * row["gsd"]} for row in rows])
    k = first
    while True:
        draw = np.random.default_rng([seed, k])
        chosen = draw.integers(2 * count, size=size)
        silent = (draw.random(size) < DROP_TEXT) | (chosen >= count)
        sentences = [
            "" if s else simulated_sentence(scenes, i, draw) for i, s in zip(chosen, silent, strict=True)
        ]
        shown = chosen if task == "superres" else (chosen + count) % (2 * count)
        picture = torch.from_numpy(images[shown]).permute(0, 3, 1, 2) / 255
        unknown = (draw.random((size, len(FIELDS))) < DROP_FIELD) | (draw.random((size, 1)) < DROP)
        metadata, cond_metadata = (
            part.masked_fill(torch.from_numpy(unknown), 0.0)
            for part in (known[chosen], (coarser if task == "superres" else known)[shown])
        )
        if task == "superres":  # the rule by which notebook 05 shrinks
            picture = bicubic(picture)
        yield encoded[chosen].float(), texts(sentences), picture, metadata, cond_metadata
        k += 1


def normalized(rows: list[dict]) -> torch.Tensor:
    """DiffusionSat's numbers of metadata rows, ``[N, 7]``."""
    return torch.stack([normalize_metadata(**{field: row[field] for field in FIELDS}) for row in rows])
