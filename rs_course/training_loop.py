"""One training loop for every network of the course, as a generator; its parts are torch's own.

    for progress in optimize(model, batches, loss, optimizer):     # a notebook plots any step, no callback
        losses.append(progress.loss)

:func:`optimize` makes the steps. :func:`fit` is the same with a :class:`Recipe` and a :class:`Budget`, and
with a folder to log to, to save in and to go on from: what ``rs-course train`` runs for each mini.
"""

from __future__ import annotations

import json
import math
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count as count_from
from pathlib import Path
from queue import Full, Queue
from typing import NamedTuple

import numpy as np
import torch
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from torch.optim.swa_utils import AveragedModel

from rs_course.deprecation import warn_renamed
from rs_course.files import atomic_write

STATE = "training.pt"  # of an unfinished training, in its folder
PREFETCHED = 2  # batches that lie ready for a GPU


class Progress(NamedTuple):
    """One step: its number, its loss, and the terms of the loss by name where it has several."""

    step: int
    loss: float
    terms: dict[str, float]


class EMA(AveragedModel):
    """Exponential moving average of a model's weights: ``ema.module`` is what one samples with.

    Its decay grows with the number of updates, min(decay, (1 + k) / (10 + k)), so that the first ones count.
    """

    def __init__(self, model: torch.nn.Module, decay: float = 0.999):
        def average(averaged, current, count):
            k = int(count)
            torch._foreach_lerp_(averaged, current, 1 - min(decay, (1 + k) / (10 + k)))

        super().__init__(model, multi_avg_fn=torch.no_grad()(average))
        self.module.eval().requires_grad_(False)
        self.updates = 0

    @property
    def updates(self) -> int:
        """Number of updates so far."""
        return int(self.n_averaged) - 1

    @updates.setter
    def updates(self, count: int) -> None:
        self.n_averaged.fill_(count + 1)  # at 0 torch would copy the weights instead of averaging

    @property
    def model(self) -> torch.nn.Module:
        """The old name of ``module``."""
        warn_renamed("EMA.model", "EMA.module")
        return self.module


class Budget:
    """How much of a training is done: a share of its minutes, over all resumed runs, or of its steps.

    Args:
        minutes: Wall time in all.
        steps: Instead: number of steps, which makes a training exactly repeatable.
    """

    def __init__(self, minutes: float | None = None, *, steps: int | None = None):
        if (minutes is None) == (steps is None):
            raise ValueError("A training ends after some minutes or after some steps: give one of the two.")
        if (minutes or 0) < 0 or (steps or 0) < 0:
            raise ValueError("A training cannot be shorter than nothing: give positive minutes or steps.")
        self.minutes, self.steps = minutes, steps
        self.begin()

    def begin(self, before: float = 0.0) -> None:
        """Start the clock, after so many seconds of interrupted runs."""
        self.started = time.monotonic() - before

    @property
    def seconds(self) -> float:
        """Time that was spent."""
        return time.monotonic() - self.started

    def share(self, step: int) -> float:
        """What is done after so many steps: 0 to 1, or more."""
        done, whole = (self.seconds, 60 * self.minutes) if self.steps is None else (step, self.steps)
        return done / whole if whole else 1.0


def linear_decay(start: float) -> Callable[[float], float]:
    """A learning rate that falls linearly to zero after this share of the training, which is below 1."""
    if not 0 <= start < 1:
        raise ValueError(
            f"linear_decay({start}): it begins after a share of the training, from 0 to below 1."
        )
    return lambda share: min(1.0, max(0.0, (1 - share) / (1 - start)))


def cosine_decay(floor: float) -> Callable[[float], float]:
    """A learning rate that falls along a cosine to this share of itself."""
    return lambda share: max(floor, 0.5 * (1 + math.cos(math.pi * share)))


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        lr: Largest learning rate.
        decay: Share of the training that is done to share of the learning rate: :func:`linear_decay` or
            :func:`cosine_decay`.
        warmup: Steps over which the learning rate rises.
        betas, weight_decay: Of AdamW.
        clip_norm: Largest norm of the gradient.
        log_every: Steps between two lines of the log, at which everything is saved.
    """

    lr: float
    decay: Callable[[float], float]
    warmup: int = 200
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    log_every: int = 500

    def optimizer(self, model: torch.nn.Module) -> torch.optim.AdamW:
        """AdamW for what is trainable in a model."""
        learned = [p for p in model.parameters() if p.requires_grad]
        return torch.optim.AdamW(
            learned, lr=self.lr, betas=self.betas, weight_decay=self.weight_decay, fused=True
        )

    def scheduler(self, optimizer: torch.optim.Optimizer, budget: Budget, done: int = 0) -> LambdaLR:
        """The learning rate after ``done`` steps and from there on."""
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] = self.lr
        return LambdaLR(
            optimizer,
            lambda step: min(1, (step + 1) / max(1, self.warmup)) * self.decay(budget.share(step)),
            last_epoch=done - 1,
        )


def optimize(
    model: torch.nn.Module,
    batches: Iterable,
    loss: Callable[..., torch.Tensor | dict[str, torch.Tensor]],
    optimizer: torch.optim.Optimizer,
    *,
    scheduler: LRScheduler | None = None,
    ema: AveragedModel | None = None,
    clip_norm: float | None = None,
    first_step: int = 0,
) -> Iterator[Progress]:
    """One optimiser step per batch; yields after each.

    Args:
        model: Its gradients are clipped and its weights averaged.
        batches: What ``loss`` takes.
        loss: ``loss(batch, step)`` is what is minimised, or a dict whose ``"total"`` is.
        optimizer: Holds the model's parameters.
        scheduler: Of the learning rate; told after every step.
        ema: Updated after every step.
        clip_norm: Largest norm of the gradient.
        first_step: Number of the first step, to continue a training.
    """
    for step, batch in enumerate(batches, first_step):
        terms = loss(batch, step)
        terms = terms if isinstance(terms, dict) else {"total": terms}
        optimizer.zero_grad(set_to_none=True)
        terms["total"].backward()
        if clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        if ema is not None:
            ema.update_parameters(model)
        values = {name: term.item() for name, term in terms.items()}
        yield Progress(step, values.pop("total"), values)


def fit(
    model: torch.nn.Module,
    batches: Callable[[int], Iterable],
    loss: Callable[..., torch.Tensor | dict[str, torch.Tensor]],
    recipe: Recipe,
    budget: Budget,
    *,
    ema: EMA | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    out: Path | None = None,
    resume: bool = True,
    evaluate: Callable[[], dict] | None = None,
    save: Callable[[int], None] | None = None,
) -> Iterator[Progress]:
    """Train by a recipe until the budget is used up; yields after each step.

    Args:
        model: Trained in place.
        batches: ``batches(first)`` gives those of the steps ``first``, ``first + 1``, …
        loss: See :func:`optimize`.
        recipe, budget: How, and how long.
        ema: Average of the weights.
        optimizer: Of the model's parameters; ``None`` takes the recipe's.
        out: Folder of the state and of ``log.jsonl``; ``None`` keeps neither.
        resume: Go on from the state in ``out``.
        evaluate: More numbers for a line of the log.
        save: ``save(steps done)`` writes the model, at every line of the log and at the end.
    """
    optimizer = optimizer or recipe.optimizer(model)
    parts = {"model": model, "optimizer": optimizer} | ({} if ema is None else {"ema": ema.module})
    done, before = 0, 0.0
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        if resume and (out / STATE).exists():
            state = torch.load(out / STATE, weights_only=True)
            for name, part in parts.items():
                part.load_state_dict(state[name])
            done, before = state["step"], state.get("seconds", 0.0)
            if ema is not None:
                ema.updates = done
    budget.begin(before)
    scheduler = recipe.scheduler(optimizer, budget, done)
    if budget.share(done) >= 1:
        if save is not None:
            save(done)
        return
    stream = prefetch(batches(done), next(model.parameters()).device)
    options = {"scheduler": scheduler, "ema": ema, "clip_norm": recipe.clip_norm, "first_step": done}
    since = []
    for progress in optimize(model, stream, loss, optimizer, **options):
        done = progress.step + 1
        since.append({"loss": progress.loss, **progress.terms})
        finished = budget.share(done) >= 1
        if out is not None and (finished or done % recipe.log_every == 0):
            means = {name: round(sum(one[name] for one in since) / len(since), 5) for name in since[0]}
            line = {"step": done, "seconds": round(budget.seconds), **means, "lr": scheduler.get_last_lr()[0]}
            with (out / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(line | (evaluate() if evaluate else {})) + "\n")
            since = []
            state = {name: part.state_dict() for name, part in parts.items()}
            with atomic_write(out / STATE) as partial:
                torch.save({**state, "step": done, "seconds": budget.seconds}, partial)
            if save is not None:
                save(done)
        yield progress
        if finished:
            return


def run(training: Iterator[Progress]) -> None:
    """Make all steps of a training at once."""
    deque(training, maxlen=0)


def once(
    path: Path, network: torch.nn.Module, train: Callable[[], torch.nn.Module], *, anew: bool = False
) -> torch.nn.Module:
    """``network`` with the weights of what ``train()`` returns, which is kept in a file for the next time.

    The names and shapes of the weights are part of the file's name: a file never meets another network.
    """
    layers = json.dumps({name: list(weight.shape) for name, weight in network.state_dict().items()})
    kept = path.with_stem(f"{path.stem}-{zlib.crc32(layers.encode()):08x}")
    if anew or not kept.exists():
        with atomic_write(kept) as partial:
            torch.save(train().state_dict(), partial)
    network.load_state_dict(torch.load(kept, weights_only=True))
    return network.eval()


def by_step(make: Callable[[np.random.Generator], tuple], seed: int) -> Callable[[int], Iterator]:
    """Endless batches for :func:`fit`: that of step k is ``make`` of the generator of (seed, k)."""

    def batches(first):
        for k in count_from(first):
            yield make(np.random.default_rng([seed, k]))

    return batches


def prefetch(batches: Iterable, device: torch.device) -> Iterator:
    """The batches (tuples of tensors) on a device. For a GPU a thread makes them while a step is computed."""
    moved = (tuple(part.to(device, non_blocking=True) for part in batch) for batch in batches)
    return iter(batches) if device.type == "cpu" else ahead(moved)


def ahead(items: Iterable) -> Iterator:
    """The same items in the same order, :data:`PREFETCHED` of them made early by a thread.

    Whatever the thread raises is raised here, in its place. The thread ends with this iterator, also where
    that is closed or forgotten before its end.
    """
    ready: Queue = Queue(PREFETCHED)
    abandoned = threading.Event()

    def hand_over(item, error=None):
        while not abandoned.is_set():
            try:
                return ready.put((item, error), timeout=0.1)
            except Full:
                continue

    def work():
        try:
            for item in items:
                hand_over(item)
                if abandoned.is_set():
                    return
            hand_over(None, StopIteration())
        except BaseException as error:  # handed over, not lost in the thread
            hand_over(None, error)

    threading.Thread(target=work, daemon=True).start()
    try:
        while True:
            item, error = ready.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item
    finally:
        abandoned.set()
