"""Five families of generative models on one map of islands: small enough to train while one watches.

world = toys.islands()
model = toys.Flow()
for step, loss in toys.fit(model, world, steps=800, seed=0): ...
toys.judge(model, world, seed=0)            # islands found, points at sea, distance to the truth, nfe
"""

from rs_course.toys.families import FAMILIES, GAN, VAE, Autoregressive, Diffusion, Flow
from rs_course.toys.islands import Verdict, fit, islands, judge

__all__ = [
    "FAMILIES",
    "GAN",
    "VAE",
    "Autoregressive",
    "Diffusion",
    "Flow",
    "Verdict",
    "fit",
    "islands",
    "judge",
]
