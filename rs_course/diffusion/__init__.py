"""The lecture's own mathematics, one subject per page.

    schedules          ᾱ_t: linear, cosine, scaled linear, zero terminal SNR; which steps a sampler visits
    process            closed-form noising, ε / x0 / v, the posterior q(x_s | x_t, x_0), the bound, the loss
    samplers           DDPM, DDIM, Euler, Heun, DPM-Solver++(2M), as generators; diffusers' own loop;
                       classifier-free guidance; editing an image by noising and denoising it
    flow               flow matching
    gaussian_mixture   data whose score is exact
    unet, pixel        a small class-conditional network, and mini-ddpm
    figures            those that lessons share

>>> from rs_course import diffusion, seeds
>>> schedule = diffusion.linear()
>>> mixture = diffusion.GaussianMixture.ring()
>>> x_T = seeds.noise((500, 2), seed=0)
>>> x_0 = diffusion.final(diffusion.ddim(mixture.denoiser(schedule), x_T, schedule, steps=20))
"""

from rs_course.deprecation import old_names
from rs_course.diffusion import figures, flow, pixel, schedules, unet
from rs_course.diffusion.gaussian_mixture import GaussianMixture
from rs_course.diffusion.process import (
    EMA,
    Progress,
    add_noise,
    denoiser,
    min_snr_weight,
    posterior,
    split,
    target,
    train,
    variational_bound,
)
from rs_course.diffusion.samplers import (
    SAMPLERS,
    Step,
    ddim,
    ddpm,
    dpmpp_2m,
    drop_condition,
    euler,
    evaluations,
    final,
    guide,
    guided,
    heun,
    library_sample,
    sdedit,
)
from rs_course.diffusion.schedules import (
    SCHEDULES,
    Schedule,
    cosine,
    linear,
    scaled_linear,
    zero_terminal_snr,
)

_RENAMED = {
    "guidance": "samplers", "learning": "process", "library": "samplers", "timesteps": "schedules"
}  # fmt: skip
__getattr__ = old_names(__name__, _RENAMED)
__all__ = [
    "EMA", "SAMPLERS", "SCHEDULES", "GaussianMixture", "Progress", "Schedule", "Step", "add_noise", "cosine",
    "ddim", "ddpm", "denoiser", "dpmpp_2m", "drop_condition", "euler", "evaluations", "figures", "final",
    "flow", "guide", "guided", "heun", "library_sample", "linear", "min_snr_weight", "pixel", "posterior",
    "scaled_linear", "schedules", "sdedit", "split", "target", "train", "unet", "variational_bound",
    "zero_terminal_snr"
]  # fmt: skip
