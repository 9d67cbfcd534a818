"""Where the noise of a run comes from.

Usually from ``rs_course.seeds``: image i draws from generators of its own. A ``torch.Generator`` instead
repeats a run of the published pipelines, which draw everything for the whole batch from one generator, in a
fixed order.
"""

from __future__ import annotations

import torch

from rs_course import seeds


class PerImage:
    """Noise as a function of (seed, image, step)."""

    def __init__(self, seed: int):
        seeds.generator(seed, 0)  # says at once what is wrong with a seed
        self.seed = seed

    def initial(self, shape, start: int) -> torch.Tensor:
        """x_T of images ``start``, ``start + 1``, ..."""
        return seeds.noise(shape, seed=self.seed, start=start)

    def step(self, shape, start: int, k: int) -> torch.Tensor:
        """What a stochastic sampler adds at its k-th step, k from 0."""
        return seeds.noise(shape, seed=self.seed, start=start, stream=k + 1)

    def generators(self, count: int, start: int) -> list[torch.Generator]:
        """For a scheduler that draws by itself: a generator for each image, which lasts for all its steps."""
        drawn = (seeds.generator(self.seed, start + i, stream=1).integers(2**32) for i in range(count))
        return [torch.Generator().manual_seed(int(one)) for one in drawn]

    def encode(self, distribution) -> torch.Tensor:
        """Latents of a picture: the posterior's mode, so that a picture always has the same latents."""
        return distribution.mode()


class OneGenerator:
    """All draws from one ``torch.Generator``, in the order of the published pipelines."""

    def __init__(self, generator: torch.Generator):
        self.generator = generator

    def initial(self, shape, start: int) -> torch.Tensor:
        return torch.randn(shape, generator=self.generator, device=self.generator.device)

    def step(self, shape, start: int, k: int) -> torch.Tensor:
        return self.initial(shape, start)

    def generators(self, count: int, start: int) -> torch.Generator:
        return self.generator

    def encode(self, distribution) -> torch.Tensor:
        return distribution.sample(self.generator)


def noise_source(seed):
    """The source for a ``seed``: an integer, a ``torch.Generator``, or an object with the methods above
    (``generators`` only for schedulers that draw by themselves).
    """
    if isinstance(seed, torch.Generator):
        return OneGenerator(seed)
    return seed if hasattr(seed, "initial") else PerImage(seed)
