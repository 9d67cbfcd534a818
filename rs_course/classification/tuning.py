"""Classifiers on frozen features: linear probe and He et al.'s tuning (CT).

Both are one linear layer on the image embeddings of a CLIP-family scorer. Tuning starts from the texts of the
classes, so that before the first step it *is* the zero-shot classifier; the probe starts from nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from rs_course.classification.sets import as_targets
from rs_course.classification.training import one_cycle, steps_of

if TYPE_CHECKING:
    from rs_course.alignment.scorer import Scorer


def text_head(scorer: Scorer, prompts: Sequence[str | Sequence[str]]) -> torch.Tensor:
    """Weights ``[C, D]`` of the zero-shot classifier: exp(scale) · the class's text embedding.

    Args:
        scorer: From :func:`rs_course.alignment.load`.
        prompts: One sentence, or list of sentences to average, per class.
    """
    from rs_course.alignment import class_embeddings

    prompts = [[p] if isinstance(p, str) else list(p) for p in prompts]
    return scorer.model.logit_scale.exp().item() * class_embeddings(scorer, prompts)


def tune(
    pairs: Sequence[tuple],
    classes: int,
    *,
    start: torch.Tensor | None = None,
    steps: int = 400,
    batch_size: int = 512,
    lr: float | None = None,
    weight_decay: float = 0.1,
    seed: int = 0,
) -> nn.Module:
    """Train the layer by AdamW with a cosine to zero and gradients clipped at 1, as He et al. do.

    Args:
        pairs: One or two (features ``[N, D]`` of length one, labels ``[N]`` or targets ``[N, C]``). Of two,
            every step takes a batch of each, and their losses count equally.
        classes: C.
        start: First weights ``[C, D]`` from :func:`text_head`; zero for the probe.
        steps: Gradient steps.
        batch_size: Features of each pair a step; at most as many as there are.
        lr: First learning rate; by default He et al.'s 1e-3 when tuning, and 1e-2 for the probe, whose
            features are scaled to unit spread.
        weight_decay: Weight decay.
        seed: Of the order.

    Returns:
        Module from features ``[N, D]`` to logits ``[N, C]``.

    Raises:
        ValueError: Labels out of range, or features of another width than ``start``.
    """
    width = pairs[0][0].shape[1]
    if start is not None and tuple(start.shape) != (classes, width):
        raise ValueError(
            f"start has shape {list(start.shape)}, but {classes} classes of {width} features need "
            f"[{classes}, {width}]."
        )
    pairs = [(x, as_targets(y, classes, len(x))) for x, y in pairs]
    layer = nn.Linear(width, classes)
    nn.init.zeros_(layer.bias)
    if start is None:
        nn.init.zeros_(layer.weight)
        seen = torch.cat([x for x, _ in pairs])
        head = nn.Sequential(_Standardised(seen), layer)
    else:
        layer.weight.data.copy_(start)
        head = layer
    run = steps_of(
        head,
        pairs,
        weights=[1.0] * len(pairs),
        steps=steps,
        batches=[min(batch_size, len(x)) for x, _ in pairs],
        lr=lr or (1e-2 if start is None else 1e-3),
        weight_decay=weight_decay,
        schedule=one_cycle(steps, warm_up=0.0),
        clip_norm=1.0,
        fast=False,  # logits are a hundred times a cosine: bfloat16 would round them by a tenth
        seed=seed,
    )
    for _ in run:
        pass
    return head.eval()


@torch.no_grad()
def probabilities(head: nn.Module, features: torch.Tensor) -> torch.Tensor:
    """Class probabilities ``[N, C]``."""
    return F.softmax(head(features), dim=1)


class _Standardised(nn.Module):
    """Features with mean zero and unit spread over the training set."""

    def __init__(self, features: torch.Tensor):
        super().__init__()
        self.register_buffer("mean", features.mean(0))
        self.register_buffer("std", features.std(0, correction=0).clamp(min=1e-6))

    def forward(self, x):
        return (x - self.mean) / self.std
