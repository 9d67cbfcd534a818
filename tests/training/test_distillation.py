"""A student that answers its questions rightly lands where the guided teacher does."""

import pytest
import torch
from diffusers import DDIMScheduler

from rs_course.diffusion.process import denoiser
from rs_course.diffusion.samplers import ddim, dpmpp_2m, final
from rs_course.training import distillation, latent


def teacher(x, t, shift):
    """v of a model that knows its data: one point per condition, so that v is exact at every level."""
    a, s = latent.schedule().coefficients(t.cpu(), x)
    point = shift.view(-1, 1, 1, 1).expand_as(x)
    return a * (x - a * point) / s - s * point


def unconditional(shift):
    return (torch.zeros_like(shift),)


def test_levels_are_those_of_the_scheduler():
    scheduler = DDIMScheduler.from_config(distillation.SCHEDULER)
    scheduler.set_timesteps(distillation.STEPS)
    assert [*scheduler.timesteps.tolist(), -1] == distillation.levels(distillation.STEPS)


@pytest.mark.parametrize("t", [0, 300, 600, 999])
def test_the_answer_leads_to_where_the_teacher_walks(t):
    schedule, guidance = latent.schedule(), 2.0
    targets = distillation.targets_of(teacher, unconditional, schedule, walk=64, guidance=guidance)
    x0, eps, shift = torch.randn(3, 4, 8, 8), torch.randn(3, 4, 8, 8), torch.tensor([0.5, -1.0, 2.0])
    xt, at, answer = targets(x0, eps, torch.full((3,), t), shift)
    plan = distillation.levels(4)
    k = plan.index(int(at[0]))
    student = denoiser(lambda x, _: answer, schedule, prediction_type="v")
    landed = final(ddim(student, xt, schedule, timesteps=plan[k : k + 2]))

    def guided(x, at):
        cond, uncond = teacher(x, at, shift), teacher(x, at, torch.zeros(3))
        return uncond + guidance * (cond - uncond)

    path = torch.linspace(plan[k], plan[k + 1], 65).round().int().tolist()
    walked = final(dpmpp_2m(denoiser(guided, schedule, prediction_type="v"), xt, schedule, timesteps=path))
    torch.testing.assert_close(landed, walked, rtol=1e-3, atol=1e-3)
