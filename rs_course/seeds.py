"""Randomness per image: what image *i* receives is a function of ``(seed, i)`` alone.

One generator per image, as in NVlabs/edm's ``StackedRandomGenerator``: the same image comes out at any batch
size, on any number of workers and after an interruption. A *stream* separates the draws that one image needs:

    stream 0      the initial noise x_T
    stream k ≥ 1  the noise that a stochastic sampler adds at its k-th step

The generator is Philox (Salmon et al. 2011), made for this: (seed, stream) is its key and i sets its
counter. torch's CPU generator keeps only 32 bits of its seed: with a hashed seed per image, two of 77,000
draws would be equal with a probability of one half.

>>> from rs_course import seeds
>>> x_T = seeds.noise((8, 3, 32, 32), seed=0)               # images 0..7
>>> more = seeds.noise((8, 3, 32, 32), seed=0, start=8)     # images 8..15
"""

from __future__ import annotations

from contextlib import contextmanager
from operator import index as as_int
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import torch


def generator(seed: int, index: int, *, stream: int = 0) -> np.random.Generator:
    """NumPy generator of image ``index`` under ``seed``, for any draw (a class, a crop, a noise).

    Raises:
        TypeError: A value is not an integer.
        ValueError: A value is negative.
    """
    return np.random.Generator(np.random.Philox(key=_key(seed, stream), counter=_counter(index)))


def noise(
    shape: Sequence[int],
    *,
    seed: int,
    start: int = 0,
    indices: Iterable[int] | None = None,
    stream: int = 0,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> torch.Tensor:
    """Standard normal noise, each image's own.

    Args:
        shape: Shape of the batch ``[N, ...]``; row j belongs to image ``start + j``.
        seed: Seed of the whole run.
        start: Index of the first image of this batch.
        indices: The N image indices, where they are not consecutive; replaces ``start``.
        stream: Which of the image's independent draws (see the module's text).
        dtype: Floating type of the result; drawn in float32, so that every type gets the same image.
        device: Device of the result; drawn on the CPU, so that every device gets the same image.

    Returns:
        Tensor ``[N, ...]``.
    """
    import torch

    count, *rest = shape
    images = range(start, start + count) if indices is None else list(indices)
    if len(images) != count:
        raise ValueError(
            f"indices names {len(images)} images, but shape asks for {count}: give one index per row."
        )
    values = np.empty((count, *rest), dtype=np.float32)
    source = generator(seed, 0, stream=stream)
    fresh = source.bit_generator.state
    for row, image in zip(values, images, strict=True):
        # The same generator, set to this image's counter: five times cheaper than a new one.
        fresh["state"]["counter"] = _counter(image)
        source.bit_generator.state = fresh
        row[...] = source.standard_normal(rest, dtype=np.float32)
    return torch.from_numpy(values).to(device=device, dtype=dtype or torch.float32)


def noise_like(x: torch.Tensor, *, seed: int, start: int = 0, stream: int = 0) -> torch.Tensor:
    """``noise`` with the shape, type and device of ``x``."""
    return noise(x.shape, seed=seed, start=start, stream=stream, dtype=x.dtype, device=x.device)


@contextmanager
def initial_weights(seed: int):
    """Context in which networks get the weights of a seed; afterwards torch's generator is as before."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _key(seed: int, stream: int) -> np.ndarray:
    """128-bit key of one stream under one seed."""
    sequence = np.random.SeedSequence(_natural("seed", seed), spawn_key=(_natural("stream", stream),))
    return sequence.generate_state(2, np.uint64)


def _counter(index: int) -> np.ndarray:
    """Where image ``index`` starts counting: 2¹⁹² blocks of random bits after its predecessor."""
    return np.array([0, 0, 0, _natural("index", index)], dtype=np.uint64)


def _natural(name: str, value) -> int:
    try:
        number = as_int(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, not {value!r}.") from None
    if number < 0:
        raise ValueError(f"{name} is {number}; it must be 0 or larger.")
    return number
