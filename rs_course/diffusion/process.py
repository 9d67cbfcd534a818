"""The forward process, its posterior, the three things a network may predict, and the loss that teaches it.

    x_t = √ᾱ_t x_0 + √(1 − ᾱ_t) ε                  the closed form (Ho et al. 2020, equation 4)
    v   = √ᾱ_t ε − √(1 − ᾱ_t) x_0                  velocity (Salimans & Ho 2022, section 4)

With φ defined by cos φ = √ᾱ_t, x_t and v are (x_0, ε) turned by the angle φ; so any one of x_0, ε, v,
together with x_t, gives the others. Samplers ask only one question of a model: *given x_t, what are x_0 and
ε?* The function that answers it is called ``denoise(xt, t) -> (x0, eps)`` everywhere in this package;
``denoiser`` makes it from a network.

:func:`train` is Algorithm 1 of Ho et al. 2020 as a generator, in the loop of ``rs_course.training_loop``,
with three habits of good practice. EMA: sample with a running average of the weights. Min-SNR: steps with
little noise are easy and would dominate the gradient; cap their weight. Autocast: bfloat16 where the
processor likes it. Step k draws its t and ε from (seed, k), so an interrupted training continues exactly; ε
differs between kinds of device.

    for progress in train(model, batches, schedule, optimizer):      # a notebook plots any step, no callback
        losses.append(progress.loss)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext

import torch
import torch.nn.functional as F

from rs_course import seeds
from rs_course.deprecation import old_arguments
from rs_course.diffusion.schedules import Schedule
from rs_course.training_loop import EMA, Progress, optimize

Denoise = Callable[[torch.Tensor, float], tuple[torch.Tensor, torch.Tensor]]

PREDICTIONS = ("eps", "x0", "v")


def add_noise(x0: torch.Tensor, eps: torch.Tensor, t: int | torch.Tensor, schedule: Schedule) -> torch.Tensor:
    """x_t = √ᾱ_t x_0 + √(1 − ᾱ_t) ε: noise of any step in one stroke.

    Args:
        x0: Clean data ``[N, ...]``.
        eps: Standard normal noise of the same shape.
        t: One step for all, or one per image ``[N]``.
        schedule: Noise schedule.
    """
    a, s = schedule.coefficients(t, x0)
    return a * x0 + s * eps


def target(
    x0: torch.Tensor, eps: torch.Tensor, t: int | torch.Tensor, schedule: Schedule, prediction_type: str
) -> torch.Tensor:
    """What a network that predicts ``"eps"``, ``"x0"`` or ``"v"`` should have answered."""
    a, s = schedule.coefficients(t, x0)
    return {"eps": eps, "x0": x0, "v": a * eps - s * x0}[_known(prediction_type)]


def split(
    output: torch.Tensor, xt: torch.Tensor, t: int | torch.Tensor, schedule: Schedule, prediction_type: str
) -> tuple[torch.Tensor, torch.Tensor]:
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
    model: Callable, schedule: Schedule, *, prediction_type: str = "eps", clip: float | None = None
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


def posterior(
    x0: torch.Tensor, xt: torch.Tensor, t: int | torch.Tensor, s: int | torch.Tensor, schedule: Schedule
) -> tuple[torch.Tensor, float]:
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


def min_snr_weight(
    t: torch.Tensor, schedule: Schedule, prediction_type: str, gamma: float = 5.0
) -> torch.Tensor:
    """Weight of each image's squared error (Hang et al. 2023, section 3.4): ``[N]``.

    min(SNR, γ) on the error of x0; the error of ε is SNR times, that of v (SNR + 1) times the error of x0.
    """
    _known(prediction_type)
    alpha_bar = schedule.at(t)
    snr = alpha_bar / (1 - alpha_bar)
    if prediction_type == "eps":
        return (gamma / snr).clamp(max=1)  # min(SNR, γ) / SNR, also at SNR = 0
    return snr.clamp(max=gamma) / (snr + 1 if prediction_type == "v" else 1)


def denoising_loss(
    model: Callable[..., torch.Tensor],
    schedule: Schedule,
    *,
    prediction_type: str = "eps",
    min_snr: float | None = None,
    loss_weight: Callable[..., torch.Tensor] | None = None,
    targets: Callable[..., tuple[torch.Tensor, torch.Tensor, torch.Tensor]] | None = None,
    coarse: tuple[int, float] | None = None,
    share: float = 1.0,
    autocast: torch.dtype | None = None,
    seed: int = 0,
) -> Callable[[tuple, int], torch.Tensor | dict[str, torch.Tensor]]:
    """L_simple or a weighting of it, as ``loss(batch, step)``; arguments as for :func:`train`."""

    def loss(batch, step):
        x0, *condition = batch
        own_seed = seed * 1_000_003 + step
        generator = torch.Generator().manual_seed(own_seed)
        t = torch.randint(len(schedule), (len(x0),), generator=generator)
        if x0.device.type != "cpu":  # large batches: to draw their noise on the CPU would take half of a step
            generator = torch.Generator(x0.device).manual_seed(own_seed)
        eps = torch.randn(x0.shape, generator=generator, device=x0.device).to(x0)
        with torch.autocast(x0.device.type, autocast) if autocast else nullcontext():
            if targets is None:
                xt, answer = add_noise(x0, eps, t, schedule), target(x0, eps, t, schedule, prediction_type)
            else:
                xt, t, answer = targets(x0, eps, t, *condition)
            output = model(xt, t.to(x0.device), *condition)
        output, terms = output if isinstance(output, tuple) else (output, {})
        wrong = output.float() - answer
        error = wrong.square()
        if loss_weight is not None:
            error = error * loss_weight(*condition)
        error = error.flatten(1).mean(1)
        weight = 1.0 if min_snr is None else min_snr_weight(t, schedule, prediction_type, min_snr).to(error)
        error = (weight * error).mean()
        if coarse is not None:
            side, weight = coarse
            terms = {**terms, "coarse": weight * F.avg_pool2d(wrong, side).square().mean()}
        return {"total": share * error + sum(terms.values()), "noise": error, **terms} if terms else error

    return loss


@old_arguments(predicts="prediction_type", emphasis="loss_weight", question="targets")
def train(
    model: torch.nn.Module,
    batches: Iterable,
    schedule: Schedule,
    optimizer: torch.optim.Optimizer,
    *,
    prediction_type: str = "eps",
    ema: EMA | None = None,
    min_snr: float | None = None,
    clip_norm: float = 1.0,
    seed: int = 0,
    first_step: int = 0,
    **options,
) -> Iterator[Progress]:
    """One optimiser step per batch; yields after each.

    Args:
        model: Called as ``model(xt, t, *condition)``; it may return more terms of the loss beside its output,
            a dict by name.
        batches: Tuples ``(x0 [N, ...], *condition)``; x0 decides the device.
        schedule: Noise schedule.
        optimizer: Holds the model's parameters.
        prediction_type: ``"eps"``, ``"x0"`` or ``"v"``.
        ema: Updated after every step.
        min_snr: γ of the min-SNR weighting; ``None`` gives L_simple, every step with weight 1.
        clip_norm: Largest norm of the gradient.
        seed: Of the steps and the noise.
        first_step: Number of the first step, to continue a training.
        options: More of :func:`denoising_loss`. ``loss_weight(*condition)`` weighs the squared errors,
            ``[N, 1, h, w]``: what is small and matters would else hardly count. ``targets(x0, eps, t,
            *condition)`` gives what the model is shown, ``(xt, t)``, and what it should answer, where that is
            not noise added to the data and its prediction: see ``rs_course.training.text2earth``.
            ``coarse=(side, weight)`` adds the squared error of means over ``side`` × ``side`` pixels, times
            ``weight``: what lies where, which hardly counts among the pixels. ``share`` weighs the error
            beside the model's own terms.
            ``autocast`` is a number type, for instance ``torch.bfloat16``.
    """
    options |= {"prediction_type": prediction_type, "min_snr": min_snr, "seed": seed}
    loss = denoising_loss(model, schedule, **options)
    return optimize(model, batches, loss, optimizer, ema=ema, clip_norm=clip_norm, first_step=first_step)
