"""``generate``: which images are missing, who makes them, and how far it has come."""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING

from . import work
from .prompts import Prompt, read_prompts
from .recipe import Folder, Recipe, Shard, prompts_hash

if TYPE_CHECKING:
    from rs_course.datasets import Dataset

SETTINGS = ("steps", "guidance", "guidance_interval", "sampler", "eta", "size", "negative_prompt")


def generate(
    prompts,
    *,
    checkpoint,
    out,
    per_prompt: int = 1,
    seed: int | Sequence[int] = 0,
    workers: int | None = None,
    scheduler: str | None = None,
    device: str | None = None,
    dtype: str | None = None,
    compiled: bool = False,
    batch_size: int | None = None,
    shard_size: int = 64,
    progress: bool = False,
    **settings,
) -> Dataset:
    """Generate a data set into a folder, or complete the one that is there.

    A folder holds one recipe: a checkpoint, a list of prompts, settings. Image i of a seed is made from
    prompt ``i % len(prompts)`` and is a function of (seed, i): the same on any number of workers, after any
    interruption, and whether 10 or 1,000 images are asked for (in float32; another ``batch_size`` or kind of
    device rounds differently, which shows as one grey level in about one of 10,000 values). More images or
    more seeds can be added to a folder later; other settings need another folder.

    Args:
        prompts: Source of prompts; see :mod:`rs_course.generation.prompts`.
        checkpoint: Name or folder of a generator.
        out: Folder of Parquet shards, as ``rs_course.datasets.load`` and ``datasets.load_dataset("parquet")``
            read them.
        per_prompt: Images for each prompt (and seed). The prompts take turns, so that a smaller set is the
            beginning of a larger one.
        seed: One seed or several.
        workers: Processes on this machine. ``None`` takes one per GPU where there are several, and otherwise
            this process alone.
        scheduler: Address of a Dask scheduler instead, ``tcp://host:8786``; its workers need the checkpoint.
        device, dtype: As in ``rs_course.checkpoints.load``.
        compiled: Compile the UNet first; worth it from some hundred images on.
        batch_size: Images per pass; ``None`` as many as the free memory allows.
        shard_size: Images per file: what a kill can cost each worker.
        progress: Show images per second and the time left.
        settings: ``steps``, ``guidance``, ``guidance_interval``, ``sampler``, ``eta``, ``size``,
            ``negative_prompt``, as in ``Checkpoint.sample``.

    Returns:
        The images that were asked for, sorted by seed and number.

    Raises:
        TypeError, ValueError, FileNotFoundError: One sentence on what was wrong, before the first image.
        RuntimeError: Another run is writing to the folder, or memory is too small.
    """
    if unknown := next((name for name in settings if name not in SETTINGS), None):
        raise TypeError(f"generate takes no {unknown!r}; the settings are {', '.join(SETTINGS)}.")
    for name, value in {"per_prompt": per_prompt, "shard_size": shard_size, "workers": workers or 1}.items():
        if not isinstance(value, Integral) or value < 1:
            raise ValueError(f"{name} is {value!r}; it is a whole number from 1 on.")
    if not isinstance(settings.get("negative_prompt") or "", str):
        raise TypeError("negative_prompt is one sentence for all images here, not a list.")
    rows, classes = read_prompts(prompts)
    seeds = [int(seed)] if isinstance(seed, Integral) else [int(one) for one in dict.fromkeys(seed)]
    count = len(rows) * per_prompt
    shards = [
        Shard(one, first, min(shard_size, count - first))
        for one in seeds
        for first in range(0, count, shard_size)
    ]
    path = Path(checkpoint).expanduser()
    order = work.Order(
        str(path.resolve() if path.exists() else checkpoint),
        {name: value for name, value in settings.items() if value is not None},
        device,
        dtype,
        compiled,
        batch_size,
        run=uuid.uuid4().hex,
    )
    from rs_course.sampling.progress import image_bar

    with Folder(out) as folder, _makers(order, workers, scheduler) as (describe, make_all):
        weights, completed, cut = describe(rows)
        for warning in cut:
            warnings.warn(warning, stacklevel=2)
        folder.claim(Recipe(path.name, weights, completed, prompts_hash(rows), shard_size))
        missing = folder.missing(shards)
        tasks = [(shard, _turn(rows, shard)) for shard in missing]
        total, waiting = count * len(seeds), sum(shard.count for shard in missing)
        with image_bar(total, total - waiting) if progress else nullcontext(_silent) as advance:
            for shard, pictures in make_all(tasks, weights, advance):
                folder.write(shard, _turn(rows, shard), pictures, classes)
    return _asked_for(out, seeds, count)


def _turn(rows: list[Prompt], shard: Shard) -> list[Prompt]:
    """The prompts of a shard's images."""
    return [rows[i % len(rows)] for i in range(shard.first, shard.first + shard.count)]


def _asked_for(out, seeds: list[int], count: int) -> Dataset:
    """Without the images that an earlier, larger run left in the folder."""
    from rs_course import datasets

    data = datasets.load(Path(out).resolve())  # a folder, even if it is called as a data set is
    places = (tuple(map(int, name.split("/"))) for name in data.ids)
    wanted = [seed in seeds and index < count for seed, index in places]
    return data if all(wanted) else data.subset(wanted)


@contextmanager
def _makers(order: work.Order, workers: int | None, scheduler: str | None):
    """Two functions: ``describe(prompts)`` and ``make_all(tasks, weights, advance)``, which yields shards."""
    if scheduler is None and (workers or _gpus()) == 1:
        try:
            yield lambda prompts: work.describe(order, prompts), lambda *tasks: _here(order, *tasks)
        finally:
            work.forget()
        return
    from distributed import Client, LocalCluster

    local = workers or _gpus()
    cluster = (
        nullcontext(scheduler)
        if scheduler
        else LocalCluster(n_workers=local, threads_per_worker=1, dashboard_address=None)
    )
    if scheduler is None:
        import torch

        order = replace(order, threads=max(1, torch.get_num_threads() // local))
    with cluster as address, Client(address) as client:
        yield (
            lambda prompts: client.submit(work.describe, order, prompts, pure=False).result(),
            lambda *tasks: _on_dask(client, order, *tasks),
        )


def _here(order: work.Order, tasks, weights: str, advance) -> Iterator[tuple[Shard, list[bytes]]]:
    for shard, rows in tasks:
        yield shard, work.make(order, shard, rows, weights, advance)


def _on_dask(client, order: work.Order, tasks, weights: str, advance):
    """Shards as they are finished; a task whose worker dies is given to another one by Dask."""
    from distributed import as_completed

    shards = {}
    for shard, rows in tasks:
        shards[client.submit(work.make, order, shard, rows, weights, pure=False)] = shard
    for future in as_completed(list(shards)):
        shard, pictures = shards.pop(future), future.result()
        future.release()
        yield shard, pictures
        advance(shard.count)


def _gpus() -> int:
    import torch

    return max(1, torch.cuda.device_count())


def _silent(images: float) -> None:
    """In place of a progress bar."""
