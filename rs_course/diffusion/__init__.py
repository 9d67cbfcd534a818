"""The lecture's own mathematics, one subject per page.

    schedules          ᾱ_t: linear, cosine, scaled linear, zero terminal SNR
    process            closed-form noising, ε / x0 / v, the posterior q(x_s | x_t, x_0)
    timesteps          which steps a sampler visits
    samplers           DDPM, DDIM, Euler, Heun, DPM-Solver++(2M), as generators
    flow               flow matching
    bound              the variational bound, term by term
    guidance           classifier-free guidance
    sdedit             editing an image by noising and denoising it
    gaussian_mixture   data whose score is exact
    learning           the training loop, as a generator
    unet, pixel        a small class-conditional network, and mini-ddpm
    library, figures   diffusers' loop around our denoisers; figures that lessons share

>>> from rs_course import diffusion, seeds
>>> schedule = diffusion.linear()
>>> mixture = diffusion.GaussianMixture.ring()
>>> x_T = seeds.noise((500, 2), seed=0)
>>> x_0 = diffusion.final(diffusion.ddim(mixture.denoiser(schedule), x_T, schedule, steps=20))
"""

from rs_course.diffusion import figures, flow, library, pixel, timesteps, unet
from rs_course.diffusion.gaussian_mixture import GaussianMixture
from rs_course.diffusion.guidance import drop_condition, guide, guided, sdedit
from rs_course.diffusion.learning import EMA, Progress, min_snr_weight, train
from rs_course.diffusion.process import add_noise, denoiser, posterior, split, target, variational_bound
from rs_course.diffusion.samplers import SAMPLERS, Step, ddim, ddpm, dpmpp_2m, euler, evaluations, final, heun
from rs_course.diffusion.schedules import (
    SCHEDULES,
    Schedule,
    cosine,
    linear,
    scaled_linear,
    zero_terminal_snr,
)

__all__ = [
    "EMA", "SAMPLERS", "SCHEDULES", "GaussianMixture", "Progress", "Schedule", "Step", "add_noise", "cosine",
    "ddim", "ddpm", "denoiser", "dpmpp_2m", "drop_condition", "euler", "evaluations", "figures", "final",
    "flow", "guide", "guided", "heun", "library", "linear", "min_snr_weight", "pixel", "posterior",
    "scaled_linear", "sdedit", "split", "target", "timesteps", "train", "unet", "variational_bound",
    "zero_terminal_snr"
]  # fmt: skip
