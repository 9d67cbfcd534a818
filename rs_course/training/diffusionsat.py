"""mini-diffusionsat: text and seven metadata numbers to tiles of the simulated Earth.

    rs-course train mini-diffusionsat

The SatUNet of DiffusionSat (Khanna et al. 2024, arXiv 2312.03606) at course scale. It learns from simulated
scenes, whose date, clouds, place and scale really shape the pixels.
"""

from __future__ import annotations

import torch

from rs_course import seeds
from rs_course.checkpoints.prompts import FIELDS, normalize_metadata
from rs_course.training_loop import Budget, by_step

from . import latent
from .sample_grid import of_classes
from .training_sets import Tiles, simulated_sentence, simulated_tiles, with_mirror_images

UNET = latent.UNET | {
    "block_out_channels": (48, 64, 96),
    "attention_head_dim": (2, 4, 6),
}
PIPELINE = "DiffusionSatPipeline"
DROP = 0.1  # share of tiles trained without text and metadata, which is what guidance compares with
DROP_FIELD = 0.1  # share of tiles on which each single field is unknown


class Denoiser(torch.nn.Module):
    """``(x_t, t, token numbers, metadata)`` to v.

    Args:
        unet: Learns.
        text_encoder: Learns with it.
    """

    def __init__(self, unet, text_encoder):
        super().__init__()
        self.unet, self.texts = latent.with_plain_attention(unet), latent.TextStates(text_encoder)

    def forward(self, x, t, ids, metadata):
        return self.unet(x, t, self.texts(ids), metadata=metadata).sample


def train(
    out, *, minutes=120, seed=0, resume=True, data=None, simulated=10_000, scenes=12_000, start=None,
    batch_size=64, **options,
):  # fmt: skip
    """Train on simulated scenes and their mirror images.

    Args:
        out, minutes, seed, resume: As of every mini, see :mod:`rs_course.training`.
        data: Not used: this mini learns from the simulated Earth alone.
        simulated, scenes: Simulated tiles of the simulator's own choice, and under many conditions.
        start: Name or folder of a checkpoint of the same network to go on from.
        batch_size: Tiles a step.
        options: Of :func:`rs_course.training.latent.fit`.
    """
    from rs_course.checkpoints.satunet import SatUNet

    vae, tokenizer, text_encoder, folders = latent.shared_parts(text_encoder=start)
    tiles = with_mirror_images(simulated_tiles(simulated, scenes))
    encoded = latent.encode(vae, tiles.images)[:, 0]
    with seeds.initial_weights(seed):
        network = Denoiser(SatUNet(**UNET), text_encoder)

    def save(network, out):
        latent.save_pipeline(out, network.unet, PIPELINE, folders, network.texts.tower)

    made = batches(tiles, encoded, latent.tokens(tokenizer), seed, batch_size)
    options = {"sample_grid": of_classes("simulated"), "start": start} | options
    return latent.fit(out, network, made, save, budget=Budget(minutes), seed=seed, resume=resume, **options)


def batches(tiles: Tiles, encoded: torch.Tensor, words, seed: int, batch_size: int = 32):
    """Batches ``(x0 [B, 4, 16, 16], token numbers [B, 77], metadata [B, 7])`` from any step on.

    Args:
        tiles, encoded: Tiles and their latents ``[N, 4, 16, 16]``.
        words: Sentences to token numbers.
        seed: That of step k depends on (seed, k) alone.
        batch_size: Tiles a batch.
    """
    known = torch.stack([normalize_metadata(**{f: row[f] for f in FIELDS}) for row in tiles.metadata])

    def batch(draw):
        chosen = draw.integers(len(tiles.labels), size=batch_size)
        dropped = draw.random(batch_size) < DROP
        sentences = [
            "" if d else simulated_sentence(tiles, i, draw) for i, d in zip(chosen, dropped, strict=True)
        ]
        unknown = (draw.random((batch_size, len(FIELDS))) < DROP_FIELD) | dropped[:, None]
        metadata = known[chosen].masked_fill(torch.from_numpy(unknown), 0.0)
        return encoded[chosen].float(), words(sentences), metadata

    return by_step(batch, seed)
