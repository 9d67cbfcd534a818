"""mini-controlnet-date: see :mod:`rs_course.training.controlnet`."""

from functools import partial

from .controlnet import train

train = partial(train, task="date")
