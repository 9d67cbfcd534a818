"""mini-diffusionsat: text and seven metadata numbers to tiles of the simulated Earth.

    rs-course train mini-diffusionsat
    rs-course train mini-controlnet

The SatUNet of DiffusionSat (Khanna et al. 2024, arXiv 2312.03606) at course scale. It learns from simulated
scenes, whose date, clouds, place and scale really shape the pixels.

Its two-dimensional ControlNet (section 3.2) is a copy of the frozen UNet's encoder that sees a picture of the
place and the metadata of both pictures. They say what is to change, so one network does both: a picture with
four times the gsd is to be sharpened, one of another date is to be taken through the year.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from rs_course import seeds
from rs_course.checkpoints.diffusionsat import SatControlNet
from rs_course.checkpoints.images import resize
from rs_course.checkpoints.prompts import FIELDS, normalize_metadata
from rs_course.diffusion.process import add_noise, target
from rs_course.superres.degradation import bicubic
from rs_course.training_loop import Budget, Recipe, by_step, linear_decay

from . import latent
from .layouts import Layouts, Sentences, layouts, turned_maps
from .places import Fields, Places, named, teach
from .training_sets import MappedScenes, mapped_scenes, simulated_sentence

UNET = latent.UNET | {"block_out_channels": (48, 64, 96), "attention_head_dim": (2, 4, 6)}
PIPELINE = "DiffusionSatPipeline"
DROP = 0.1  # share of tiles trained without text and metadata, which is what guidance compares with
DROP_FIELD = 0.1  # share of tiles on which each single field is unknown
# Share of tiles with text but without metadata: where these always say month and clouds, the words for them
# teach nothing.
DROP_METADATA = 0.5
EARLY = 300  # noise levels next to pure noise, at which it is decided what lies where
COARSE = (4, 4.0)  # see ``rs_course.diffusion.process.train``
RECALLED = 600  # noise levels, from none on, of which a network learns from the one that it goes on from
# Before it learns to denoise, in which the noise hardly counts; twenty minutes of a processor core.
LESSON, LESSON_STEPS, LESSON_SHARE = Recipe(lr=1e-3, decay=linear_decay(0.7), log_every=50), 1_200, 0.05


class Denoiser(latent.TextDenoiser):
    """``(x_t, t, token numbers, metadata)`` to v."""

    def forward(
        self, x: torch.Tensor, t: torch.Tensor, ids: torch.Tensor, metadata: torch.Tensor
    ) -> torch.Tensor:
        return self.unet(x, t, self.texts(ids), metadata=metadata).sample


class AskedDenoiser(Denoiser):
    """A denoiser that is asked what lies where while it learns: v, and the loss of each question."""

    def __init__(self, unet, text_encoder):
        super().__init__(unet, text_encoder)
        self.places, self.fields = Places(unet), Fields(text_encoder.config.hidden_size)

    def forward(
        self,
        x: torch.Tensor,
        t: torch.Tensor,
        ids: torch.Tensor,
        metadata: torch.Tensor,
        maps: torch.Tensor,
        said: torch.Tensor,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        states = self.texts(ids)
        v, terms = self.places.asked(lambda: self.unet(x, t, states, metadata=metadata).sample, maps, said)
        return v, terms | {"text": self.fields.loss(states, said)}


def train(
    out: str | Path,
    *,
    minutes: float | None = 120,
    seed: int = 0,
    resume: bool = True,
    data: Any = 24_000,
    start: str | Path | None = None,
    batch_size: int = 64,
    **options,
):
    """Train on simulated scenes, each in four views.

    The arguments are those of every mini, see :mod:`rs_course.training`; ``data`` is the number of scenes.
    Before the UNet learns to denoise, the text tower learns alone what sentences place where, and then both
    learn what lies where: while the gradient is full of noise, neither finds it.
    """
    from rs_course.checkpoints.diffusionsat import SatUNet

    vae, tokenizer, text_encoder, folders = latent.shared_parts(text_encoder=start)
    targets = early if start is None else recalled(earlier(start, copy.deepcopy(text_encoder)))
    scenes, words = layouts(int(data), workers=os.cpu_count() or 1), latent.tokens(tokenizer)
    encoded = latent.encode(vae, scenes.tiles.images, views=latent.VIEWS)
    with seeds.initial_weights(seed):
        network = AskedDenoiser(SatUNet(**UNET), text_encoder)
    made = batches(scenes, encoded, words, seed, batch_size)
    again = {"seed": seed, "resume": resume}
    teach(network.texts, network.fields, Sentences(scenes.tiles), words, out=Path(out) / "text", **again)
    lesson = {"recipe": LESSON, "share": LESSON_SHARE, "targets": early, "start": start}
    latent.fit(
        Path(out) / "places", network, made, None, budget=Budget(steps=LESSON_STEPS), **again, **lesson
    )

    def save(network, out):
        latent.save_pipeline(out, network.unet, PIPELINE, folders, network.texts.tower)

    options = {"sample_grid": latent.of_classes("simulated"), "targets": targets, "coarse": COARSE} | options
    return latent.fit(out, network, made, save, budget=Budget(minutes), **again, **options)


def early(x0: torch.Tensor, eps: torch.Tensor, t: torch.Tensor, *condition):
    """Half of a batch at any noise level, the other half at the :data:`EARLY` ones, mostly near the last."""
    last, half = latent.schedule(), len(x0) // 2
    late = len(last) - 1 - (EARLY * (t[half:] / len(last)).square()).long()
    t = torch.cat([t[:half], late])
    return add_noise(x0, eps, t, last), t, target(x0, eps, t, last, "v")


def recalled(teacher: Denoiser) -> Callable[..., tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """As :func:`early`, but below :data:`RECALLED` the answer is the teacher's.

    The lessons spoil what a network knew about detail. Its earlier self tells it, and without the noise that
    an answer from data holds. Not in the lessons: what must answer as before learns to ignore the sentence.
    """

    def targets(x0, eps, t, ids, metadata, *_):
        xt, t, v = early(x0, eps, t)
        known = (t < RECALLED).nonzero().flatten()
        with torch.no_grad():
            v[known] = teacher(xt[known], t[known].to(xt.device), ids[known], metadata[known]).to(v)
        return xt, t, v

    return targets


def earlier(checkpoint: str | Path, text_encoder: nn.Module) -> Denoiser:
    """The network of a checkpoint with its text tower, which are not trained."""
    from rs_course.checkpoints.diffusionsat import SatUNet

    network = Denoiser(SatUNet(**UNET), text_encoder).to(text_encoder.device)
    latent.begin_from(network.unet, checkpoint)
    return network.eval().requires_grad_(False)


def batches(scenes: Layouts, encoded: torch.Tensor, words: Callable, seed: int, batch_size: int = 32):
    """Batches ``(x0 [B, 4, 16, 16], token numbers [B, 77], metadata [B, 7], maps [B, 7, GRID, GRID],
    said [B, len(STATEMENTS), 3, 3])`` from any step on.

    Args:
        scenes: N scenes.
        encoded: Their latents in all views, ``[N, VIEWS, 4, 16, 16]``.
        words: Sentences to token numbers.
        seed: That of step k depends on (seed, k) alone.
        batch_size: Tiles a batch.
    """
    known, sentences = normalized(scenes.tiles.metadata), Sentences(scenes.tiles)
    maps = torch.from_numpy(scenes.maps)

    def batch(draw):
        chosen, view, told = zip(*(sentences.mixed(draw) for _ in range(batch_size)), strict=True)
        rows, view = list(chosen), torch.tensor(view)
        dropped = draw.random(batch_size) < DROP
        told = ["" if d else sentence for d, sentence in zip(dropped, told, strict=True)]
        unknown = draw.random((batch_size, len(FIELDS))) < DROP_FIELD
        unknown |= (dropped | (draw.random(batch_size) < DROP_METADATA))[:, None]
        metadata = known[rows].masked_fill(torch.from_numpy(unknown), 0.0)
        seen = turned_maps(maps[rows])[torch.arange(batch_size), view].float() / 255
        said = torch.stack([named(sentence) for sentence in told])
        return encoded[rows, view].float(), words(told), metadata, seen, said

    return by_step(batch, seed)


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


def train_controlnet(
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

    made = controlnet_batches(scenes, encoded, latent.text_states(tokenizer, text_encoder), seed, batch_size)
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


def controlnet_batches(
    scenes: MappedScenes, encoded: torch.Tensor, texts: Callable, seed: int, batch_size: int = 16
):
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


def normalized(rows: list[dict]) -> torch.Tensor:
    """DiffusionSat's numbers of metadata rows, ``[N, 7]``."""
    return torch.stack([normalize_metadata(**{field: row[field] for field in FIELDS}) for row in rows])
