"""Training that ends by itself, and classifiers on frozen features: linear probe and He et al.'s tuning (CT).

A fixed number of steps decides beforehand how good each arm may become: too few make every addition to the
real images look useful. :func:`fit_until_converged` keeps the learning rate constant, the weights that count
are their running average, and each look at the validation images costs a forward pass. The average spans the
last tenth of the steps, however many they are (the power function of Karras et al. 2024, arXiv 2312.02696,
equation 8, γ = 6.94), so that the curve shows at every step what a training that ends there would reach.
Convolutional networks begin on images of half the side, at a quarter of the cost, and go on at full size when
they are no better there.

On frozen features both are one linear layer on the image embeddings of a CLIP-family scorer. Tuning starts
from the texts of the classes, so that before the first step it *is* the zero-shot classifier; the probe
starts from nothing.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel

from rs_course.classification.sets import as_targets, as_tensor, to_float
from rs_course.classification.training import one_cycle, predict, steps_of

GAMMA = 6.94  # a relative width of the average of 0.10
WARM_UP = 50  # steps in which the learning rate rises to its value
GROWTH = 1.25  # each look at the validation images comes so much later than the one before
WAIT_SMALL = 1.2  # the same on images of half the side, after which nothing is lost
SMALL = 32  # pixels: images with a shorter side are not halved
WAIT, AT_LEAST = 1.6, 120  # no better after 1.6 times the steps of the best and 120 more: it has converged


@dataclass(frozen=True, eq=False)
class Convergence:
    """What :func:`fit_until_converged` finds.

    Attributes:
        model: The averaged weights of the best step, in evaluation mode.
        steps: Gradient steps until the best.
        taken: Gradient steps that were taken.
        curve: ``[(step, accuracy on validation)]``, the first part on images of half the side.
        converged: Whether it stopped by itself, and not at ``max_steps``.
    """

    model: torch.nn.Module
    steps: int
    taken: int
    curve: list[tuple[int, float]]
    converged: bool


def fit_until_converged(
    model: torch.nn.Module,
    pairs,
    validation,
    *,
    max_steps: int,
    batch_sizes,
    weights=None,
    lr: float | None = None,
    weight_decay: float = 0.05,
    label_smoothing: float = 0.1,
    augment="flip+rotate",
    seed: int = 0,
) -> Convergence:
    """Train a classifier on one or more sets side by side until it stops improving.

    Args:
        model: From :func:`rs_course.classification.build`; it is changed in place.
        pairs: List of (images, labels or targets ``[N, C]``); every step takes a batch of each.
        validation: (images, labels) that nothing is trained on.
        max_steps: Where to stop in any case.
        batch_sizes: Images of each pair a step.
        weights: Of the loss of each pair; 1 by default.
        lr: Learning rate; the model's own by default.
        weight_decay, label_smoothing, augment, seed: As for :func:`rs_course.classification.fit`.

    Raises:
        TypeError, ValueError: Images, labels or settings that do not fit.
    """
    images, labels = as_tensor(validation[0]), torch.as_tensor(validation[1])
    classes = predict(model, images[:1]).shape[1]
    pairs = [(as_tensor(x), as_targets(y, classes, len(x))) for x, y in pairs]
    settings = {
        "weights": weights or [1.0] * len(pairs), "batches": batch_sizes, "steps": max_steps, "seed": seed,
        "lr": lr or getattr(model, "lr", 1e-3), "schedule": lambda step: min(1.0, (step + 1) / WARM_UP),
        "weight_decay": weight_decay, "label_smoothing": label_smoothing, "augment": augment,
    }  # fmt: skip
    curve, before = [], 0
    small = getattr(model, "size", None) is None and min(images.shape[-2:]) >= SMALL
    for share in (0.5, 1.0) if small else (1.0,):
        shown = images if share == 1 else F.avg_pool2d(to_float(images), 2)
        run = steps_of(model, pairs, progressive_resizing=((2.0, share),), **settings)
        wait = WAIT if share == 1 else WAIT_SMALL
        model, best, taken, own = _until_no_better(run, model, shown, labels, max_steps, wait)
        curve += [(before + step, accuracy) for step, accuracy in own]
        before += taken
    return Convergence(model.eval(), before - taken + best, before, curve, taken < max_steps)


def _until_no_better(run, model, images, labels, max_steps: int, wait: float):
    """(averaged weights of the best step, this step, steps taken, curve)."""
    average = AveragedModel(model, avg_fn=power_average, use_buffers=True)
    curve, best, kept, look, step = [], (-1.0, 0), None, 20, 0
    for step, _ in enumerate(run, start=1):
        average.update_parameters(model)
        if step < look and step < max_steps:
            continue
        look = max(step + 20, math.ceil(GROWTH * step))
        accuracy = (predict(average.module, images).argmax(1) == labels).double().mean().item()
        model.train()
        curve.append((step, accuracy))
        if accuracy > best[0]:
            best, kept = (accuracy, step), copy.deepcopy(average.module)
        elif step >= wait * best[1] + AT_LEAST:
            break
    run.close()
    return kept, best[1], step, curve


def power_average(averaged: torch.Tensor, current: torch.Tensor, count) -> torch.Tensor:
    """β · averaged + (1 − β) · current, β = (1 − 1/t)^(γ + 1); whole numbers are taken over."""
    if not averaged.is_floating_point():
        return current
    return torch.lerp(current, averaged, (1 - 1 / (int(count) + 1)) ** (GAMMA + 1))


def text_head(scorer, prompts) -> torch.Tensor:
    """Weights ``[C, D]`` of the zero-shot classifier: exp(scale) · the class's text embedding.

    Args:
        scorer: From :func:`rs_course.alignment.load`.
        prompts: One sentence, or list of sentences to average, per class.
    """
    from rs_course.alignment import class_embeddings

    prompts = [[p] if isinstance(p, str) else list(p) for p in prompts]
    return scorer.model.logit_scale.exp().item() * class_embeddings(scorer, prompts)


def tune(
    pairs,
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
