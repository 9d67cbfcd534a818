"""The sampling engine: one loop for every generator, in which image *i* depends on ``(seed, i)`` alone.

``Checkpoint.sample`` is the way in. For a look inside, :func:`trajectory` yields every step:

>>> for step in trajectory(checkpoint, "a river", steps=20):  # doctest: +SKIP
...     print(step.index, step.t, step.latents.std())
"""

from .engine import Step, describe, sample, trajectory
from .samplers import SAMPLERS

__all__ = ["SAMPLERS", "Step", "describe", "sample", "trajectory"]
