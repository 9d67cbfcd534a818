"""What a process does for a run: say what the recipe is, and make a shard. Runs here or on a Dask worker."""

from __future__ import annotations

import functools
import io
import warnings
from dataclasses import dataclass, field

from .prompts import Prompt
from .recipe import Shard


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


def describe(order: Order, prompts: list[Prompt]) -> tuple[str, dict, list[str]]:
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
        settings = sampling.describe(generator, *_rows(prompts), **order.arguments)
    return generator.card.hash, settings, [str(warning.message) for warning in cut]


def make(order: Order, shard: Shard, rows: list[Prompt], weights: str, advance=None) -> list[bytes]:
    """The pictures of a shard, as PNG files.

    Args:
        order: How.
        shard: Which images.
        rows: Their prompts.
        weights: Hash of the weights that the run is made with.
        advance: Called with the number of images (a fraction of them) that are done since the last call.

    Raises:
        ValueError: The checkpoint of that name has other weights on this machine.
    """
    from rs_course.checkpoints.images import pixels

    generator = _generator(order)
    if generator.card.hash != weights:
        raise ValueError(f"{order.checkpoint} has other weights on this worker than where the run began.")
    texts, metadata = _rows(rows)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The prompt has .* tokens")  # said once, before the first image
        images = generator.sample(
            texts,
            metadata=metadata,
            seed=shard.seed,
            start=shard.first,
            batch_size=order.batch_size,
            progress=advance or False,
            **order.arguments,
        )
    return [_png(image) for image in pixels(images)]


def forget() -> None:
    """Free the memory of the generator that this process has loaded."""
    _loaded.cache_clear()


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


def _rows(prompts: list[Prompt]) -> tuple[list[str], list[dict | None] | None]:
    metadata = [prompt.metadata for prompt in prompts]
    return [prompt.text for prompt in prompts], metadata if any(metadata) else None


def _png(pixels) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()
