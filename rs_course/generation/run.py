"""``generate``: which images are missing, who makes them, and how far it has come.

What a process does, here or on a worker, is to :func:`describe` the request and to :func:`make` a shard.
"""

from __future__ import annotations

import functools
import uuid
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rs_course import jobs

from .prompts import SampleSpec, read_prompts
from .recipe import Folder, Recipe, Shard, prompts_hash

if TYPE_CHECKING:
    from rs_course.datasets import Dataset

SETTINGS = (
    "steps", "guidance", "guidance_interval", "sampler", "eta", "size", "negative_prompt", "strength",
)  # fmt: skip


@dataclass(frozen=True)
class Order:
    """How images are made.

    Attributes:
        checkpoint: Name or absolute path for ``rs_course.checkpoints.load``.
        arguments: For ``Checkpoint.sample``.
        device, dtype: For ``load``; ``device=None`` spreads the workers of one machine over its GPUs.
        compiled: Whether to compile the UNet.
        batch_size: Images per pass, or ``None``.
        threads: CPU threads of a worker, or ``None`` for as they are.
        run: Tells one run from the next, whose checkpoint of the same name may be another.
    """

    checkpoint: str
    arguments: dict = field(default_factory=dict)
    device: str | None = None
    dtype: str | None = None
    compiled: bool = False
    batch_size: int | None = None
    threads: int | None = None
    run: str = ""


def generate(
    prompts: str | Path | Sequence[str | dict | SampleSpec],
    *,
    checkpoint: str | Path,
    out: str | Path,
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
            ``negative_prompt``, ``strength``, as in ``Checkpoint.sample``.

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
    seeds = [int(one) for one in (dict.fromkeys(seed) if isinstance(seed, Iterable) else [seed])]
    count = len(rows) * per_prompt
    shards = [
        Shard(one, first, min(shard_size, count - first))
        for one in seeds
        for first in range(0, count, shard_size)
    ]
    path, workers = Path(checkpoint).expanduser(), 0 if scheduler else workers or _gpus()
    order = Order(
        str(path.resolve() if path.exists() else checkpoint),
        {name: value for name, value in settings.items() if value is not None},
        device,
        dtype,
        compiled,
        batch_size,
        threads=_threads_of_each(workers),
        run=uuid.uuid4().hex,
    )
    from rs_course.sampling.engine import image_bar

    with ExitStack() as stack:
        stack.callback(_loaded.cache_clear)
        folder = stack.enter_context(Folder(out))
        runner = stack.enter_context(jobs.runner(workers if workers > 1 else 0, scheduler))
        weights, completed, cut = runner.call(describe, order, rows)
        for warning in cut:
            warnings.warn(warning, stacklevel=2)
        folder.claim(Recipe(path.name, weights, completed, prompts_hash(rows), shard_size))
        missing = folder.missing(shards)
        total, waiting = count * len(seeds), sum(shard.count for shard in missing)
        with image_bar(total, total - waiting) if progress else nullcontext(_silent) as advance:
            here = advance if runner.client is None else None  # in this process a bar moves within a shard
            asked = {shard: (order, shard, _turn(rows, shard), weights, here) for shard in missing}
            for shard, pictures, error in runner.each(make, asked):
                if error:
                    raise error
                folder.write(shard, _turn(rows, shard), pictures, classes)
                if not here:
                    advance(shard.count)
    return _asked_for(out, seeds, count)


def _turn(rows: list[SampleSpec], shard: Shard) -> list[SampleSpec]:
    """The prompts of a shard's images."""
    return [rows[i % len(rows)] for i in range(shard.first, shard.first + shard.count)]


def _asked_for(out, seeds: list[int], count: int) -> Dataset:
    """Without the images that an earlier, larger run left in the folder."""
    from rs_course import datasets

    data = datasets.load(Path(out).resolve())  # a folder, even if it is called as a data set is
    places = (tuple(map(int, name.split("/"))) for name in data.ids)
    wanted = [seed in seeds and index < count for seed, index in places]
    return data if all(wanted) else data.subset(wanted)


def describe(order: Order, prompts: list[SampleSpec]) -> tuple[str, dict, list[str]]:
    """Check the whole request before the first image.

    Returns:
        Hash of the checkpoint's weights; the settings with all defaults; warnings about prompts that are cut.

    Raises:
        TypeError, ValueError: As ``Checkpoint.sample`` would.
    """
    from rs_course import sampling

    generator = _generator(order)
    with warnings.catch_warnings(record=True) as cut:
        warnings.simplefilter("always")
        settings = sampling.describe(generator, **_rows(prompts), **order.arguments)
    if "strength" in order.arguments:
        settings["strength"] = order.arguments["strength"]
    return generator.card.hash, settings, [str(warning.message) for warning in cut]


def make(
    order: Order, shard: Shard, rows: list[SampleSpec], weights: str, advance: Callable | None
) -> list[bytes]:
    """The pictures of a shard, as PNG files.

    Args:
        order: How.
        shard: Which images.
        rows: Their prompts.
        weights: Hash of the weights that the run is made with.
        advance: Called with the number of images (a fraction of them) that are done since the last call, or
            ``None``.

    Raises:
        ValueError: The checkpoint of that name has other weights on this machine.
    """
    from rs_course.checkpoints.images import pixels
    from rs_course.datasets.tables import png

    generator = _generator(order)
    if generator.card.hash != weights:
        raise ValueError(f"{order.checkpoint} has other weights on this worker than where the run began.")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The prompt has .* tokens")  # said once, before the first image
        images = generator.sample(
            **_rows(rows),
            seed=shard.seed,
            start=shard.first,
            batch_size=order.batch_size,
            progress=advance or False,
            **order.arguments,
        )
    return [png(image) for image in pixels(images)]


def _generator(order: Order):
    if order.threads:
        import torch

        torch.set_num_threads(order.threads)
    return _loaded(order.checkpoint, order.device or _own_gpu(), order.dtype, order.compiled, order.run)


@functools.lru_cache(maxsize=1)
def _loaded(checkpoint, device, dtype, compiled, run):
    from rs_course import checkpoints

    generator = checkpoints.load(checkpoint, device=device, dtype=dtype)
    return generator.compile() if compiled else generator


def _own_gpu() -> str | None:
    """The GPU of a worker on a machine with several: those of a local cluster are numbered 0, 1, …"""
    import torch

    if torch.cuda.device_count() < 2:
        return None
    try:
        from distributed import get_worker

        name = get_worker().name
    except (ImportError, ValueError):  # not on a worker
        return None
    return f"cuda:{name % torch.cuda.device_count()}" if isinstance(name, int) else None


def _rows(prompts: list[SampleSpec]) -> dict:
    """The arguments of ``Checkpoint.sample`` that differ between images."""
    import torch

    metadata = [prompt.metadata for prompt in prompts]
    found = {"prompts": [prompt.text for prompt in prompts], "metadata": metadata if any(metadata) else None}
    for name in ("image", "mask"):
        pictures = [getattr(prompt, name) for prompt in prompts]
        if pictures[0] is not None:
            pixels = torch.from_numpy(np.stack(pictures)).float() / 255
            found[name] = pixels.permute(0, 3, 1, 2) if name == "image" else pixels[:, None]
    return found


def _gpus() -> int:
    import torch

    return max(1, torch.cuda.device_count())


def _threads_of_each(workers: int) -> int | None:
    import torch

    return max(1, torch.get_num_threads() // workers) if workers > 1 else None


def _silent(images: float) -> None:
    """In place of a progress bar."""
