"""Generators: load any of them by name or folder, and sample.

>>> from rs_course import checkpoints
>>> generator = checkpoints.load("mini-diffusionsat")  # doctest: +SKIP
>>> images = generator.sample("a satellite image of a river", metadata={"lon": 8.4, "lat": 49.0, "month": 7})
# doctest: +SKIP

The published models and the course's minis share this interface and every line of code behind it.
"""

import lazy_loader

from rs_course.deprecation import old_names

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__getattr__ = old_names(__name__, {"drawing": "maps"}, __getattr__)
