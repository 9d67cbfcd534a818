"""mini-text2earth-fast: mini-text2earth in four steps of one evaluation each, guidance included.

    rs-course train mini-text2earth-fast

Few steps without guidance are those of a student that jumps where its teacher walks.

The teacher goes from one level of the student to the next in several guided steps, each of two evaluations;
the student learns to land at the same place in one. Guidance distilled into one pass (Meng et al. 2023, arXiv
2210.03142) and fewer steps (progressive distillation, Salimans & Ho 2022, arXiv 2202.00512) are one question
here: which velocity, followed by one DDIM step, leads where the teacher got?
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch

from rs_course.diffusion.process import add_noise, split
from rs_course.diffusion.samplers import dpmpp_2m, final
from rs_course.diffusion.schedules import Schedule
from rs_course.training_loop import Budget, Recipe, linear_decay

from . import latent, text2earth
from .sample_grid import of_classes

STEPS, WALK = 4, 4  # steps of the student, and of the teacher for each of them
GUIDANCE = 2.0
SETTINGS = {"steps": STEPS, "guidance": 1.0, "sampler": "ddim"}
SCHEDULER = {
    "_class_name": "DDIMScheduler",
    "num_train_timesteps": 1000,
    **latent.BETAS,
    "prediction_type": "v_prediction",
    "clip_sample": False,
    "set_alpha_to_one": True,
    "timestep_spacing": "trailing",
}


def train(
    out, *, minutes=45, seed=0, resume=True, data="eurosat", simulated=6_000, scenes=6_000,
    teacher="mini-text2earth", batch_size=64, **options,
):  # fmt: skip
    """Train on the tiles and sentences of mini-text2earth.

    Args:
        out, minutes, seed, resume, data, simulated, scenes, batch_size, options: As in ``text2earth.train``.
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

    def save(network, out):
        tower = latent.own_tower(teacher) or folders["text_encoder"]
        shared = {**folders, "text_encoder": tower}
        latent.save_pipeline(out, network.unet, text2earth.PIPELINE, shared, scheduler=SCHEDULER)

    options = {
        "recipe": Recipe(lr=2e-4, decay=linear_decay(0.4), log_every=100),
        "ema_decay": 0.995,
        "targets": targets_of(guide, unconditional, latent.schedule()),
        "sample_grid": of_classes("eurosat", {**SETTINGS, "seed": 0}),
    } | options
    made = text2earth.batches(sources, words, seed, batch_size)
    return latent.fit(out, student, made, save, budget=Budget(minutes), seed=seed, resume=resume, **options)


def levels(steps: int, count: int = 1000) -> list[int]:
    """Levels of a plan of so many steps, the noisiest first, as diffusers' trailing spacing has them; -1 is
    the clean image.
    """
    return [round(count - k * count / steps) - 1 for k in range(steps + 1)]


def targets_of(
    teacher: Callable[..., torch.Tensor],
    unconditional: Callable[..., tuple],
    schedule: Schedule,
    *,
    steps: int = STEPS,
    walk: int = WALK,
    guidance: float = GUIDANCE,
) -> Callable[..., tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """What the student is asked: a noisy tile at one of its levels, and the velocity that leads to the next.

    Args:
        teacher: ``teacher(xt, t, *condition)`` to v.
        unconditional: ``unconditional(*condition)``: the condition without text, for guidance.
        schedule: Noise schedule of both.
        steps: Steps of the student.
        walk: Steps of the teacher from one level of the student to the next.
        guidance: The teacher's, all of the way.
    """
    plan = levels(steps, len(schedule))

    @torch.no_grad()
    def targets(x0, eps, t, *condition):
        k = int(t[0]) * steps // len(schedule)  # one level for the batch, so that the teacher walks once
        start, stop = plan[k], plan[k + 1]
        xt = add_noise(x0, eps, start, schedule)
        pairs = [torch.cat(pair) for pair in zip(condition, unconditional(*condition), strict=True)]

        def denoise(x, level):
            at = torch.full((2 * len(x),), round(level), device=x.device)
            cond, uncond = teacher(torch.cat([x, x]), at, *pairs).float().chunk(2)
            return split(uncond + guidance * (cond - uncond), x, level, schedule, "v")

        path = torch.linspace(start, stop, walk + 1).round().int().tolist()
        reached = final(dpmpp_2m(denoise, xt, schedule, timesteps=path, lower_order_final=stop < 0))
        (a, s), (a_next, s_next) = (schedule.coefficients(level, xt) for level in (start, stop))
        clean = (reached - s_next / s * xt) / (a_next - a * s_next / s)
        return xt, torch.full((len(xt),), start, device=xt.device), (a * xt - clean) / s

    return targets
