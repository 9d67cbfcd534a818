"""Training as a generator: Algorithm 1 of Ho et al. 2020, with three habits of good practice.

    for progress in train(model, batches, schedule, optimizer):      # a notebook plots any step, no callback
        losses.append(progress.loss)

EMA: sample with a running average of the weights. Min-SNR: steps with little noise are easy and would
dominate the gradient; cap their weight. Autocast: bfloat16 where the processor likes it. Step k draws its t
and ε from (seed, k), so an interrupted training continues exactly; ε differs between kinds of device.

The loop itself is :func:`rs_course.training_loop.optimize`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext

import torch

from rs_course.deprecation import old_arguments
from rs_course.diffusion.process import add_noise, target
from rs_course.diffusion.schedules import Schedule
from rs_course.training_loop import EMA, Progress, optimize


def min_snr_weight(
    t: torch.Tensor, schedule: Schedule, prediction_type: str, gamma: float = 5.0
) -> torch.Tensor:
    """Weight of each image's squared error (Hang et al. 2023, section 3.4): ``[N]``.

    min(SNR, γ) on the error of x0; the error of ε is SNR times, that of v (SNR + 1) times the error of x0.
    """
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
    autocast: torch.dtype | None = None,
    seed: int = 0,
) -> Callable[[tuple, int], torch.Tensor]:
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
        error = (output.float() - answer).square()
        if loss_weight is not None:
            error = error * loss_weight(*condition)
        error = error.flatten(1).mean(1)
        weight = 1.0 if min_snr is None else min_snr_weight(t, schedule, prediction_type, min_snr).to(error)
        return (weight * error).mean()

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
        model: Called as ``model(xt, t, *condition)``.
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
            ``autocast`` is a number type, for instance ``torch.bfloat16``.
    """
    options |= {"prediction_type": prediction_type, "min_snr": min_snr, "seed": seed}
    loss = denoising_loss(model, schedule, **options)
    return optimize(model, batches, loss, optimizer, ema=ema, clip_norm=clip_norm, first_step=first_step)
