"""mini-diffusionsat: text and seven metadata numbers to tiles of the simulated Earth.

    rs-course train mini-diffusionsat

The SatUNet of DiffusionSat (Khanna et al. 2024, arXiv 2312.03606) at course scale. It learns from simulated
scenes, whose date, clouds, place and scale really shape the pixels.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rs_course import seeds
from rs_course.checkpoints.prompts import FIELDS, normalize_metadata
from rs_course.training_loop import Budget, Recipe, by_step, linear_decay

from . import latent, recall
from .layouts import Sentences, layouts, turned_maps
from .places import Fields, Places, named, teach

UNET = latent.UNET | {"block_out_channels": (48, 64, 96), "attention_head_dim": (2, 4, 6)}
PIPELINE = "DiffusionSatPipeline"
DROP = 0.1  # share of tiles trained without text and metadata, which is what guidance compares with
DROP_FIELD = 0.1  # share of tiles on which each single field is unknown
# Share of tiles with text but without metadata: where these always say month and clouds, the words for them
# teach nothing.
DROP_METADATA = 0.5
COARSE = (4, 4.0)  # see ``rs_course.diffusion.process.train``
LEARN = 0.6  # share of the minutes in which a network that goes on from another learns, before it recalls
# Before it learns to denoise, in which the noise hardly counts; twenty minutes of a processor core.
LESSON, LESSON_STEPS, LESSON_SHARE = Recipe(lr=1e-3, decay=linear_decay(0.7), log_every=50), 1_200, 0.05


class Denoiser(latent.TextDenoiser):
    """``(x_t, t, token numbers, metadata)`` to v; questions, which come last, are not heard."""

    def forward(
        self, x: torch.Tensor, t: torch.Tensor, ids: torch.Tensor, metadata: torch.Tensor, *questions
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
    learn what lies where: while the gradient is full of noise, neither finds it. A network that goes on from
    ``start`` then learns again what it forgot over that, see :mod:`rs_course.training.recall`.
    """
    from rs_course.checkpoints.diffusionsat import SatUNet

    budget = Budget(minutes)  # refused before anything is rendered
    vae, tokenizer, text_encoder, folders = latent.shared_parts(text_encoder=start)
    if start is not None:
        earlier = latent.as_it_was(Denoiser(SatUNet(**UNET), copy.deepcopy(text_encoder)), start)
    scenes, words = layouts(int(data), workers=os.cpu_count() or 1), latent.tokens(tokenizer)
    encoded = latent.encode(vae, scenes.tiles.images, views=latent.VIEWS)
    with seeds.initial_weights(seed):
        network = AskedDenoiser(SatUNet(**UNET), text_encoder)
    sentences = Sentences(scenes.tiles)
    made = batches(sentences, scenes.maps, encoded, words, seed, batch_size)
    again = {"seed": seed, "resume": resume}
    teach(network.texts, network.fields, sentences, words, out=Path(out) / "text", **again)
    lesson = {"recipe": LESSON, "share": LESSON_SHARE, "targets": recall.early, "start": start}
    latent.fit(
        Path(out) / "places", network, made, None, budget=Budget(steps=LESSON_STEPS), **again, **lesson
    )

    def save(network, out):
        latent.save_pipeline(out, network.unet, PIPELINE, folders, network.texts.tower)

    options = {"sample_grid": latent.of_classes("simulated")} | options
    learn = {"targets": recall.early, "coarse": COARSE} | again
    if start is None:
        return latent.fit(out, network, made, save, budget=budget, **learn | options)
    learn["targets"] = recall.recalled(earlier)
    learnt = latent.fit(Path(out) / "learnt", network, made, None, budget=Budget(LEARN * minutes), **learn)
    learnt = Denoiser(learnt.unet, learnt.texts.tower).eval().requires_grad_(False)
    unet = recall.grafted(copy.deepcopy(earlier.unet).train().requires_grad_(True), learnt.unet)
    network = Denoiser(unet, copy.deepcopy(learnt.texts.tower))
    made = batches(sentences, scenes.maps, encoded, words, seed, batch_size, tell=recall.told(sentences))
    options = {"recipe": recall.RECIPE, "coarse": recall.COARSE} | again | options
    options["targets"] = recall.of_both(earlier, learnt)
    return latent.fit(out, network, made, save, budget=Budget((1 - LEARN) * minutes), **options)


def batches(
    sentences: Sentences,
    maps: np.ndarray,
    encoded: torch.Tensor,
    words: Callable,
    seed: int,
    batch_size: int = 32,
    *,
    tell: Callable | None = None,
):
    """Batches ``(x0 [B, 4, 16, 16], token numbers [B, 77], metadata [B, 7], maps [B, 7, GRID, GRID],
    said [B, len(STATEMENTS), 3, 3])`` from any step on.

    Args:
        sentences: What is said about N scenes.
        maps: What lies where in them, see :class:`rs_course.training.layouts.Layouts`.
        encoded: Their latents in all views, ``[N, VIEWS, 4, 16, 16]``.
        words: Sentences to token numbers.
        seed: That of step k depends on (seed, k) alone.
        batch_size: Tiles a batch.
        tell: What is said about which view of which scene; :meth:`Sentences.mixed` by default.
    """
    tell = tell or sentences.mixed
    known, truth = normalized(sentences.tiles.metadata), torch.from_numpy(maps)

    def batch(draw):
        chosen, view, told = zip(*(tell(draw) for _ in range(batch_size)), strict=True)
        rows, view = list(chosen), torch.tensor(view)
        dropped = draw.random(batch_size) < DROP
        told = ["" if d else sentence for d, sentence in zip(dropped, told, strict=True)]
        unknown = draw.random((batch_size, len(FIELDS))) < DROP_FIELD
        unknown |= (dropped | (draw.random(batch_size) < DROP_METADATA))[:, None]
        metadata = known[rows].masked_fill(torch.from_numpy(unknown), 0.0)
        seen = turned_maps(truth[rows])[torch.arange(batch_size), view].float() / 255
        said = torch.stack([named(sentence) for sentence in told])
        return encoded[rows, view].float(), words(told), metadata, seen, said

    return by_step(batch, seed)


def normalized(rows: list[dict]) -> torch.Tensor:
    """DiffusionSat's numbers of metadata rows, ``[N, 7]``."""
    return torch.stack([normalize_metadata(**{field: row[field] for field in FIELDS}) for row in rows])
