"""Few steps without guidance: a student that jumps where its teacher walks.

The teacher goes from one level of the student to the next in several guided steps, each of two evaluations;
the student learns to land at the same place in one. Guidance distilled into one pass (Meng et al. 2023, arXiv
2210.03142) and fewer steps (progressive distillation, Salimans & Ho 2022, arXiv 2202.00512) are one question
here: which velocity, followed by one DDIM step, leads where the teacher got?
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from rs_course.diffusion.process import add_noise, split
from rs_course.diffusion.samplers import dpmpp_2m, final
from rs_course.diffusion.schedules import Schedule

from . import latent

STEPS, WALK = 4, 4  # steps of the student, and of the teacher for each of them
GUIDANCE = 2.0
SETTINGS = {"steps": STEPS, "guidance": 1.0, "sampler": "ddim", "distilled_guidance": GUIDANCE}
SCHEDULER = {
    "_class_name": "DDIMScheduler",
    "num_train_timesteps": 1000,
    **latent.BETAS,
    "prediction_type": "v_prediction",
    "clip_sample": False,
    "set_alpha_to_one": True,
    "timestep_spacing": "trailing",
}


def levels(steps: int, count: int = 1000) -> list[int]:
    """Levels of a plan of so many steps, the noisiest first, as diffusers' trailing spacing has them; -1 is
    the clean image.
    """
    return [round(count - k * count / steps) - 1 for k in range(steps + 1)]


def question_of(
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
        unconditional: ``unconditional(*condition)``: the condition of guidance's other half.
        schedule: Noise schedule of both.
        steps: Steps of the student.
        walk: Steps of the teacher from one level of the student to the next.
        guidance: The teacher's, all of the way.
    """
    plan = levels(steps, len(schedule))

    @torch.no_grad()
    def question(x0, eps, t, *condition):
        k = (
            int(t[0]) * steps // len(schedule)
        )  # one level for the whole batch, so that the teacher walks once
        start, stop = plan[k], plan[k + 1]
        xt = add_noise(x0, eps, start, schedule)
        both = [torch.cat(pair) for pair in zip(condition, unconditional(*condition), strict=True)]

        def denoise(x, level):
            at = torch.full((2 * len(x),), round(level), device=x.device)
            asked, free = teacher(torch.cat([x, x]), at, *both).float().chunk(2)
            return split(free + guidance * (asked - free), x, level, schedule, "v")

        path = torch.linspace(start, stop, walk + 1).round().int().tolist()
        reached = final(dpmpp_2m(denoise, xt, schedule, timesteps=path, lower_order_final=stop < 0))
        (a, s), (a_next, s_next) = (schedule.coefficients(level, xt) for level in (start, stop))
        clean = (reached - s_next / s * xt) / (a_next - a * s_next / s)
        return xt, torch.full((len(xt),), start, device=xt.device), (a * xt - clean) / s

    return question
