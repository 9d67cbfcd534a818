"""Generators: load any of them by name or folder, and sample.

>>> from rs_course import checkpoints
>>> generator = checkpoints.load("mini-diffusionsat")  # doctest: +SKIP
>>> images = generator.sample("a satellite image of a river", metadata={"lon": 8.4, "lat": 49.0, "month": 7})
# doctest: +SKIP

The published models and the course's minis share this interface and every line of code behind it.
"""

from rs_course import lazy

from .load import load
from .metadata import normalize_metadata

# Loaded on first use, because they import torch.
_LAZY = {"load_enhancer": "enhancement", "outpaint": "outpainting"}

__all__ = ["load", "load_enhancer", "normalize_metadata", "outpaint"]

__getattr__, __dir__ = lazy.attach(__name__, _LAZY)
