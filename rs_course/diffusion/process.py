"""The forward process, its posterior, and the three things a network may predict.

    x_t = √ᾱ_t x_0 + √(1 − ᾱ_t) ε                  the closed form (Ho et al. 2020, equation 4)
    v   = √ᾱ_t ε − √(1 − ᾱ_t) x_0                  velocity (Salimans & Ho 2022, section 4)

With φ defined by cos φ = √ᾱ_t, x_t and v are (x_0, ε) turned by the angle φ; so any one of x_0, ε, v,
together with x_t, gives the others. Samplers ask only one question of a model: *given x_t, what are x_0 and
ε?* The function that answers it is called ``denoise(xt, t) -> (x0, eps)`` everywhere in this package;
``denoiser`` makes it from a network.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from rs_course import seeds
from rs_course.deprecation import old_arguments
from rs_course.diffusion.schedules import Schedule

Denoise = Callable[[torch.Tensor, float], tuple[torch.Tensor, torch.Tensor]]

PREDICTIONS = ("eps", "x0", "v")


def add_noise(x0: torch.Tensor, eps: torch.Tensor, t, schedule: Schedule) -> torch.Tensor:
    """x_t = √ᾱ_t x_0 + √(1 − ᾱ_t) ε: noise of any step in one stroke.

    Args:
        x0: Clean data ``[N, ...]``.
        eps: Standard normal noise of the same shape.
        t: One step for all, or one per image ``[N]``.
        schedule: Noise schedule.
    """
    a, s = schedule.coefficients(t, x0)
    return a * x0 + s * eps


def target(x0: torch.Tensor, eps: torch.Tensor, t, schedule: Schedule, prediction_type: str) -> torch.Tensor:
    """What a network that predicts ``"eps"``, ``"x0"`` or ``"v"`` should have answered."""
    a, s = schedule.coefficients(t, x0)
    return {"eps": eps, "x0": x0, "v": a * eps - s * x0}[_known(prediction_type)]


def split(output: torch.Tensor, xt: torch.Tensor, t, schedule: Schedule, prediction_type: str):
    """Turn a network's output into the pair (x0, eps).

    Raises:
        ValueError: Unknown prediction, or ε-prediction at zero signal, where x0 cannot be recovered.
    """
    a, s = schedule.coefficients(t, xt)
    if _known(prediction_type) == "eps":
        if not a.all():
            raise ValueError(
                "At zero terminal SNR a prediction of eps says nothing about x0: predict 'v' or 'x0'."
            )
        return (xt - s * output) / a, output
    if prediction_type == "x0":
        return output, (xt - a * output) / s
    return a * xt - s * output, s * xt + a * output


@old_arguments(predicts="prediction_type")
def denoiser(
    model, schedule: Schedule, *, prediction_type: str = "eps", clip: float | None = None
) -> Denoise:
    """Wrap a network as ``denoise(xt, t) -> (x0, eps)``.

    Args:
        model: Function ``(xt [N, ...], t [N]) -> output [N, ...]``.
        schedule: The schedule it was trained with.
        prediction_type: ``"eps"``, ``"x0"`` or ``"v"``.
        clip: Keep the predicted x0 within ±clip (images: 1), and ε consistent with it.
    """

    def denoise(xt, t):
        precise = torch.float64 if xt.dtype == torch.float64 else None
        steps = torch.full((len(xt),), t, device=xt.device, dtype=precise)
        x0, eps = split(model(xt, steps), xt, t, schedule, prediction_type)
        if clip is not None:
            x0 = x0.clamp(-clip, clip)
            eps = split(x0, xt, t, schedule, "x0")[1]
        return x0, eps

    return denoise


def posterior(x0: torch.Tensor, xt: torch.Tensor, t, s, schedule: Schedule):
    """Mean and variance of q(x_s | x_t, x_0) for any earlier step s < t (s = −1 is the clean image).

    For s = t − 1 this is Ho et al. 2020, equations 6 and 7:
    μ̃ = √ᾱ_{t−1} β_t / (1 − ᾱ_t) x_0 + √α_t (1 − ᾱ_{t−1}) / (1 − ᾱ_t) x_t and β̃ = (1 − ᾱ_{t−1}) / (1 −
    ᾱ_t) β_t.
    """
    bar_t, bar_s = schedule.at(t).item(), schedule.at(s).item()
    alpha = bar_t / bar_s  # of the jump from s to t
    mean = bar_s**0.5 * (1 - alpha) / (1 - bar_t) * x0 + alpha**0.5 * (1 - bar_s) / (1 - bar_t) * xt
    return mean, (1 - bar_s) / (1 - bar_t) * (1 - alpha)


def _known(prediction_type: str) -> str:
    if prediction_type not in PREDICTIONS:
        known = ", ".join(map(repr, PREDICTIONS))
        raise ValueError(f"prediction_type is {prediction_type!r}; choose one of {known}.")
    return prediction_type


@torch.no_grad()
def variational_bound(
    denoise: Denoise, x0: torch.Tensor, schedule: Schedule, *, seed: int = 0
) -> torch.Tensor:
    """Upper bound of −log p(x_0) in nats, one noise draw per step (Ho et al. 2020, equation 5).

    L_T + Σ L_{t−1} + L_0. The reverse step p(x_{t−1} | x_t) has the posterior's mean with the predicted in
    place of the true x_0, and variance σ_t² = β_t.

    Args:
        denoise: ``(xt, t) -> (x0, eps)``.
        x0: Data ``[N, ...]``.
        schedule: Noise schedule.
        seed: Of the noise.

    Returns:
        One estimate per point, ``[N]``; their mean bounds E[−log p(x_0)] from above.
    """
    dimensions = x0[0].numel()
    bar = schedule.alpha_bar[-1].item()
    bound = (bar * x0.flatten(1).square().sum(1) - dimensions * (bar + math.log1p(-bar))) / 2  # L_T
    for t, beta in enumerate(schedule.beta.tolist()):
        xt = add_noise(x0, seeds.noise_like(x0, seed=seed, stream=t), t, schedule)
        mean, variance = posterior(x0, xt, t, t - 1, schedule)
        guess, _ = posterior(denoise(xt, t)[0], xt, t, t - 1, schedule)
        # The first is −log of a density at x_0 itself, L_0; the others are divergences, L_{t−1}.
        constant = math.log(2 * math.pi * beta) if t == 0 else math.log(beta / variance) + variance / beta - 1
        bound = bound + (mean - guess).flatten(1).square().sum(1) / (2 * beta) + dimensions * constant / 2
    return bound
