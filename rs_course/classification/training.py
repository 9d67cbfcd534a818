"""Training a classifier on one set of images, or on real and synthetic ones side by side.

    model = fit(images, labels, seed=0)
    probability = predict(model, test_images)

A target is a distribution over the classes. Label smoothing, He et al.'s soft targets, Mixup and CutMix all
are such distributions, so there is one loss: the cross-entropy with the target.

Compute is counted in steps of ``batch_size`` images, whatever the size of the set: two arms with the same
``steps`` have had the same number of gradient steps on the same number of images.

:func:`tune` trains one linear layer on the image embeddings of a CLIP-family scorer: He et al.'s classifier
tuning (CT), which starts from the texts of the classes, so that before the first step it *is* the zero-shot
classifier; or the linear probe, which starts from nothing.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from rs_course import precision
from rs_course.classification import augment as augmentation
from rs_course.classification.classifiers import build
from rs_course.classification.sets import as_targets, as_tensor, class_count, to_float
from rs_course.deprecation import old_arguments
from rs_course.training_loop import Progress, optimize, run

# Progressive resizing: a convolutional network learns most of what it will know on small images, at a quarter
# of the cost. Pairs: up to this share of the training, this share of the side.
PROGRESSIVE_RESIZING = ((0.4, 0.5), (0.7, 0.75))


_RENAMED = {"rate": "lr", "batch": "batch_size", "decay": "weight_decay", "smoothing": "label_smoothing"}


@old_arguments(**_RENAMED, growing="progressive_resizing")
def fit(
    images: np.ndarray | torch.Tensor,
    labels: ArrayLike,
    *,
    classes: int | None = None,
    classifier: str | torch.nn.Module = "small-cnn",
    extra: tuple | None = None,
    extra_weight: float = 1.0,
    extra_batch_size: int | None = None,
    steps: int | None = None,
    epochs: float = 8,
    batch_size: int = 64,
    lr: float | None = None,
    weight_decay: float = 0.05,
    label_smoothing: float = 0.1,
    augment: str | Sequence[str] | None = "flip+rotate",
    progressive_resizing: Sequence[tuple[float, float]] = PROGRESSIVE_RESIZING,
    seed: int = 0,
    device: str | torch.device | None = None,
) -> torch.nn.Module:
    """Train a classifier; the same arguments give the same weights on one machine.

    Args:
        images: uint8 ``[N, H, W, 3]``, or float ``[N, 3, H, W]`` in [0, 1].
        labels: Class numbers ``[N]``, or targets ``[N, C]`` whose rows sum to one.
        classes: C, where it is not the largest label plus one.
        classifier: A name for :func:`rs_course.classification.classifiers.build`, or a module to train on
            (it is changed in place).
        extra: A second pair (images, labels or targets), usually synthetic. Each step then takes one batch of
            both, and the loss is CE(first) + ``extra_weight`` · CE(extra) (He et al. 2023, mixed training).
        extra_weight: See ``extra``.
        extra_batch_size: Images of the second pair a step; as many as ``batch_size`` without it.
        steps: Gradient steps; ``None`` makes them from ``epochs`` over the first pair (and the second).
        epochs: Passes over the data, where ``steps`` is not given.
        batch_size: Images of each pair a step. A smaller set is repeated (and augmented anew) within a batch.
        lr: Highest learning rate of the one-cycle schedule (Smith & Topin 2019), for AdamW; by default the
            classifier's own.
        weight_decay: Weight decay.
        label_smoothing: Label smoothing.
        augment: See :func:`rs_course.classification.augment.parse`.
        progressive_resizing: See :data:`PROGRESSIVE_RESIZING`; ``()`` trains at full size throughout, as
            networks with a fixed input size always do.
        seed: Of weights, order and augmentation.
        device: Where to train; the CPU by default.

    Returns:
        The classifier in evaluation mode: images ``[N, 3, H, W]`` in [0, 1] to logits ``[N, C]``.

    Raises:
        TypeError, ValueError: Images, labels or settings that do not fit; one sentence says which.
    """
    pairs = [(images, labels)] if extra is None else [(images, labels), extra]
    if classes is None:
        classes = max(class_count(target) for _, target in pairs)
    if isinstance(classifier, str):
        classifier = build(classifier, classes, seed=seed)
    batches = [batch_size, extra_batch_size or batch_size][: len(pairs)]
    pairs = [(as_tensor(x), as_targets(y, classes, len(x))) for x, y in pairs]
    if steps is None:
        steps = max(1, round(epochs * sum(len(x) for x, _ in pairs) / sum(batches)))
    training = steps_of(
        classifier.to(device),
        pairs,
        weights=(1.0, extra_weight)[: len(pairs)],
        steps=steps,
        batches=batches,
        lr=float(getattr(classifier, "lr", 1e-3) if lr is None else lr),
        weight_decay=weight_decay,
        label_smoothing=label_smoothing,
        augment=augment,
        progressive_resizing=progressive_resizing if getattr(classifier, "size", None) is None else (),
        seed=seed,
    )
    place = next(classifier.parameters()).device
    with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
        torch.manual_seed(seed)  # of dropout, where the classifier has it
        run(training)
    return classifier.eval()


def steps_of(
    model: torch.nn.Module,
    pairs: Sequence[tuple[torch.Tensor, torch.Tensor]],
    *,
    weights: Sequence[float],
    steps: int,
    batches: Sequence[int],
    lr: float,
    weight_decay: float,
    label_smoothing: float = 0.0,
    augment: str | Sequence[str] | None = None,
    progressive_resizing: Sequence[tuple[float, float]] = (),
    schedule: Callable[[int], float] | None = None,
    clip_norm: float | None = None,
    fast: bool = True,
    seed: int = 0,
) -> Iterator[Progress]:
    """The training of :func:`fit` as a generator: one gradient step, one yield.

    Args:
        model: Changed in place, on its own device.
        pairs: List of (inputs, targets ``[N, C]``); inputs are images from ``inputs.as_tensor``, or anything
            else that ``model`` takes.
        weights: Weight of the loss of each pair.
        batches: Rows of each pair a step.
        schedule: Share of ``lr`` at a step; by default :func:`one_cycle` over ``steps``.
        clip_norm: Largest norm of the gradient.
        fast: Whether the device's fastest number type may be used (:mod:`rs_course.precision`).
        steps, lr, weight_decay, label_smoothing, augment, progressive_resizing, seed: As in :func:`fit`.

    Raises:
        ValueError: Fewer than one step or image.
    """
    if steps < 1 or min(batches) < 1:
        raise ValueError(
            f"steps={steps}, batch_size={min(batches)}: a training needs at least one step of one image."
        )
    change, schedule = augmentation.parse(augment), schedule or one_cycle(steps)
    device = next(model.parameters()).device
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=lr, weight_decay=weight_decay, fused=True
    )
    rng = np.random.default_rng(seed)
    streams = [
        _order(len(x), rows, np.random.default_rng([seed, k]))
        for k, ((x, _), rows) in enumerate(zip(pairs, batches, strict=True))
    ]

    def draws():
        while True:
            parts = []
            for (x, y), stream in zip(pairs, streams, strict=True):
                rows = torch.from_numpy(next(stream))
                parts.append(change(to_float(x[rows].to(device)), y[rows].to(device), rng))
            yield torch.cat([x for x, _ in parts]), [y for _, y in parts]

    def loss(batch, step):
        inputs, targets = batch
        with precision.repeatable(device.type) if fast else contextlib.nullcontext():
            logits = model(_shrunk(inputs, (step + 0.5) / steps, progressive_resizing))
        return sum(
            weight * F.cross_entropy(part.float(), y, label_smoothing=label_smoothing)
            for part, y, weight in zip(logits.split(list(batches)), targets, weights, strict=True)
        )

    model.train()
    drawn, rates = draws(), LambdaLR(optimizer, schedule)
    yield from optimize(model, islice(drawn, steps), loss, optimizer, scheduler=rates, clip_norm=clip_norm)
    _settle(model, (inputs for inputs, _ in islice(drawn, min(steps, 20))), device)


@torch.no_grad()
def _settle(model: torch.nn.Module, batches, device) -> None:
    """Set the statistics of batch normalisation to those of the final weights on images of full size.

    The running averages lag behind the weights and mix image sizes; after a short training, which is what few
    shots get, they would spoil the predictions.
    """
    layers = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a plain average over all batches
    for x in batches:
        with precision.repeatable(device.type):
            model(x)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


def _shrunk(x: torch.Tensor, done: float, progressive_resizing) -> torch.Tensor:
    """Images at the size that they have after ``done`` of the training."""
    share = next((share for until, share in progressive_resizing if done < until), 1.0)
    if share == 1:
        return x
    side = [round(share * length) for length in x.shape[-2:]]
    return F.avg_pool2d(x, 2) if share == 0.5 else F.interpolate(x, side, mode="bilinear", antialias=True)


def one_cycle(steps: int, warm_up: float = 0.25) -> Callable[[int], float]:
    """Share of the highest learning rate at a step: up along a cosine for ``warm_up``, then to zero."""

    def share(step: int) -> float:
        done = (step + 0.5) / steps
        if done < warm_up:
            return 0.5 - 0.5 * math.cos(math.pi * done / warm_up)
        return 0.5 + 0.5 * math.cos(math.pi * (done - warm_up) / (1 - warm_up))

    return share


@torch.no_grad()
def predict(
    model: torch.nn.Module,
    images: np.ndarray | torch.Tensor,
    *,
    symmetries: bool = False,
    batch_size: int = 250,
) -> torch.Tensor:
    """Class probabilities ``[N, C]``, float32 on the CPU.

    Args:
        model: A classifier; it is put into evaluation mode.
        images: As for :func:`fit`.
        symmetries: Average over the eight symmetries of the square, at eight times the cost.
        batch_size: Images per forward pass.
    """
    model.eval()
    device = next(model.parameters()).device
    views = [(k, mirrored) for mirrored in (False, True) for k in range(4)] if symmetries else [(0, False)]
    result = []
    for part in as_tensor(images).split(batch_size):
        x, total = to_float(part.to(device)), torch.zeros(())
        for k, mirrored in views:
            view = torch.rot90(x, k, (2, 3))
            with precision.repeatable(device.type):
                logits = model(view.flip(3) if mirrored else view)
            total = total + logits.float().softmax(1)
        result.append(total.div(len(views)).cpu())
    return torch.cat(result)


def _order(count: int, batch_size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Endless batches of row numbers: shuffled passes, one after the other, cut into pieces."""
    waiting = np.empty(0, np.int64)
    while True:
        while len(waiting) < batch_size:
            waiting = np.concatenate([waiting, rng.permutation(count)])
        yield waiting[:batch_size]
        waiting = waiting[batch_size:]


def tune(
    pairs: Sequence[tuple],
    classes: int,
    *,
    start: torch.Tensor | None = None,
    steps: int = 400,
    batch_size: int = 512,
    lr: float | None = None,
    seed: int = 0,
) -> nn.Module:
    """Train the layer by AdamW with a cosine to zero and gradients clipped at 1, as He et al. do.

    Args:
        pairs: One or two (features ``[N, D]`` of length one, labels ``[N]`` or targets ``[N, C]``). Of two,
            every step takes a batch of each, and their losses count equally.
        classes: C.
        start: First weights ``[C, D]``, from ``recipes.text_head``; zero for the probe.
        steps: Gradient steps.
        batch_size: Features of each pair a step; at most as many as there are.
        lr: First learning rate; by default He et al.'s 1e-3 when tuning, and 1e-2 for the probe, whose
            features are scaled to unit spread.
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
    training = steps_of(
        head,
        pairs,
        weights=[1.0] * len(pairs),
        steps=steps,
        batches=[min(batch_size, len(x)) for x, _ in pairs],
        lr=lr or (1e-2 if start is None else 1e-3),
        weight_decay=0.1,
        schedule=one_cycle(steps, warm_up=0.0),
        clip_norm=1.0,
        fast=False,  # logits are a hundred times a cosine: bfloat16 would round them by a tenth
        seed=seed,
    )
    run(training)
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
