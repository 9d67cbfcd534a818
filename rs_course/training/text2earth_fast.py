"""mini-text2earth-fast: mini-text2earth in four steps of one evaluation each, guidance included.

    rs-course train mini-text2earth-fast

See :mod:`rs_course.training.distillation`. It keeps its teacher's text tower.
"""

from __future__ import annotations

import copy

import torch

from . import distillation, grids, latent, text2earth


def train(
    out, *, minutes=45, seed=0, resume=True, data="eurosat", simulated=6_000, scenes=6_000,
    teacher="mini-text2earth", batch=64, **options,
):  # fmt: skip
    """Train on the tiles and sentences of mini-text2earth.

    Args:
        out, minutes, seed, resume, data, simulated, scenes, batch, options: As in ``text2earth.train``.
        teacher: Name or folder of the checkpoint that is walked with and begun from.
    """
    from diffusers import UNet2DConditionModel

    words, sources, text_encoder, folders = text2earth.material(data, simulated, scenes, start=teacher)
    guide = text2earth.Denoiser(UNet2DConditionModel(**text2earth.UNET), text_encoder)
    latent.begin_from(guide.unet, teacher)
    student = copy.deepcopy(guide)
    student.texts.requires_grad_(False)
    guide.requires_grad_(False)
    silence = words([""])

    def unconditional(ids, levels):
        return silence.to(ids).expand_as(ids), torch.zeros_like(levels)

    def make(first):
        return text2earth.batches(sources, words, seed, first, batch)

    def save(network, out):
        tower = latent.own_tower(teacher) or folders["text_encoder"]
        shared = {**folders, "text_encoder": tower}
        latent.save_pipeline(out, network.unet, text2earth.PIPELINE, shared, scheduler=distillation.SCHEDULER)

    look = {"steps": distillation.STEPS, "guidance": 1.0, "sampler": "ddim", "seed": 0}
    options = {
        "lr": 2e-4, "min_snr": None, "ema_decay": 0.995, "log_every": 100,
        "question": distillation.question_of(guide, unconditional, latent.schedule()),
        "draw": grids.of_classes("eurosat", look),
    } | options  # fmt: skip
    return latent.fit(out, student, make, save, minutes=minutes, seed=seed, resume=resume, **options)
