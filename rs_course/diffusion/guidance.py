"""Classifier-free guidance: one network, asked twice.

    output = uncond + scale · (cond − uncond)

``scale`` is the convention of diffusers and of the published checkpoints: 0 ignores the condition, 1 is the
plain conditional model, more exaggerates it. Ho & Salimans (2022, equation 6)
write (1 + w) cond − w uncond, so their w is ``scale − 1``.
"""

from __future__ import annotations

import torch


def guide(cond: torch.Tensor, uncond: torch.Tensor, scale: float) -> torch.Tensor:
    """The guidance line; it is the same for ε, x0, v and the score, because all are affine in each other."""
    return uncond + scale * (cond - uncond)


def guided(
    model, condition: torch.Tensor, null, scale: float, *, interval: tuple[float, float] | None = None
):
    """A model ``(xt, t)`` that answers with guidance, from a conditional model ``(xt, t, condition)``.

    Args:
        model: Trained with its condition sometimes replaced by ``null``.
        condition: One per image ``[N, ...]``.
        null: The value (or row) of ``condition`` that means "no condition".
        scale: Guidance scale.
        interval: Guide only at steps t in [low, high] (Kynkäänniemi et al. 2024); elsewhere one evaluation
            suffices.
    """

    def ask(xt, t):
        inside = interval is None or interval[0] <= t[0] <= interval[1]
        if scale == 1 or not inside:
            return model(xt, t, condition)
        nothing = torch.as_tensor(null).to(condition).expand_as(condition)
        both = model(torch.cat([xt, xt]), torch.cat([t, t]), torch.cat([condition, nothing]))
        return guide(*both.chunk(2), scale)

    return ask


def drop_condition(condition: torch.Tensor, null, probability: float, uniform) -> torch.Tensor:
    """Replace the condition by ``null`` where ``uniform < probability`` (Ho & Salimans 2022, Algorithm 1).

    Args:
        condition: ``[N, ...]``.
        null: The value (or row) that means "no condition".
        probability: Of dropping; 0.1 to 0.2 is usual.
        uniform: N numbers drawn uniformly from [0, 1).
    """
    drop = torch.as_tensor(uniform).to(condition.device) < probability
    drop = drop.reshape(-1, *[1] * (condition.ndim - 1))
    return torch.where(drop, torch.as_tensor(null).to(condition), condition)
