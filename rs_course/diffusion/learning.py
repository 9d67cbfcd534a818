"""Training as a generator: Algorithm 1 of Ho et al. 2020, with three habits of good practice.

    for progress in train(model, batches, schedule, optimizer):      # a notebook plots any step, no callback
        losses.append(progress.loss)

EMA: sample with a running average of the weights. Min-SNR: steps with little noise are easy and would
dominate the gradient; cap their weight. Autocast: bfloat16 where the processor likes it. Step k draws its t
and ε from (seed, k), so an interrupted training continues exactly; ε differs between kinds of device.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from typing import NamedTuple

import torch

from rs_course.diffusion.process import add_noise, target
from rs_course.diffusion.schedules import Schedule


class Progress(NamedTuple):
    step: int
    loss: float


class EMA:
    """Exponential moving average of a model's weights: ``ema.model`` is what one samples with.

    The decay grows with the number of updates, min(decay, (1 + k) / (10 + k)), so that the first ones count.
    """

    def __init__(self, model: torch.nn.Module, decay: float = 0.999):
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, model: torch.nn.Module) -> None:
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for average, current in zip(self.model.parameters(), model.parameters(), strict=True):
            average.lerp_(current, 1 - decay)


def min_snr_weight(t: torch.Tensor, schedule: Schedule, predicts: str, gamma: float = 5.0) -> torch.Tensor:
    """Weight of each image's squared error (Hang et al. 2023, section 3.4): ``[N]``.

    min(SNR, γ) on the error of x0; the error of ε is SNR times, that of v (SNR + 1) times the error of x0.
    """
    alpha_bar = schedule.at(t)
    snr = alpha_bar / (1 - alpha_bar)
    if predicts == "eps":
        return (gamma / snr).clamp(max=1)  # min(SNR, γ) / SNR, also at SNR = 0
    return snr.clamp(max=gamma) / (snr + 1 if predicts == "v" else 1)


def train(
    model: torch.nn.Module,
    batches: Iterable,
    schedule: Schedule,
    optimizer: torch.optim.Optimizer,
    *,
    predicts: str = "eps",
    ema: EMA | None = None,
    min_snr: float | None = None,
    emphasis: Callable[..., torch.Tensor] | None = None,
    question: Callable[..., tuple[torch.Tensor, torch.Tensor, torch.Tensor]] | None = None,
    clip_norm: float = 1.0,
    autocast: torch.dtype | None = None,
    seed: int = 0,
    first_step: int = 0,
) -> Iterator[Progress]:
    """One optimiser step per batch; yields after each.

    Args:
        model: Called as ``model(xt, t, *condition)``.
        batches: Tuples ``(x0 [N, ...], *condition)``; x0 decides the device.
        schedule: Noise schedule.
        optimizer: Holds the model's parameters.
        predicts: ``"eps"``, ``"x0"`` or ``"v"``.
        ema: Updated after every step.
        min_snr: γ of the min-SNR weighting; ``None`` gives L_simple, every step with weight 1.
        emphasis: ``emphasis(*condition)`` weighs the squared errors, ``[N, 1, h, w]``: what is small and
            matters would else hardly count.
        question: ``question(x0, eps, t, *condition)`` gives what the model is shown, ``(xt, t)``, and what it
            should answer, where that is not noise added to the data and its ``predicts``: see
            ``rs_course.training.distillation``.
        clip_norm: Largest norm of the gradient.
        autocast: For instance ``torch.bfloat16``.
        seed: Of the steps and the noise.
        first_step: Number of the first step, to continue a training.
    """
    for step, (x0, *condition) in enumerate(batches, first_step):
        own_seed = seed * 1_000_003 + step
        generator = torch.Generator().manual_seed(own_seed)
        t = torch.randint(len(schedule), (len(x0),), generator=generator)
        if x0.device.type != "cpu":  # large batches: to draw their noise on the CPU would take half of a step
            generator = torch.Generator(x0.device).manual_seed(own_seed)
        eps = torch.randn(x0.shape, generator=generator, device=x0.device).to(x0)
        with torch.autocast(x0.device.type, autocast) if autocast else nullcontext():
            if question is None:
                xt, answer = add_noise(x0, eps, t, schedule), target(x0, eps, t, schedule, predicts)
            else:
                xt, t, answer = question(x0, eps, t, *condition)
            output = model(xt, t.to(x0.device), *condition)
        error = (output.float() - answer).square()
        if emphasis is not None:
            error = error * emphasis(*condition)
        error = error.flatten(1).mean(1)
        weight = 1.0 if min_snr is None else min_snr_weight(t, schedule, predicts, min_snr).to(error)
        loss = (weight * error).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        optimizer.step()
        if ema is not None:
            ema.update(model)
        yield Progress(step, loss.item())
