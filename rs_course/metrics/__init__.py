"""Measures: of image pairs (:mod:`.image`) and of sets of images (:mod:`.distribution`).

The names below load on first use, so that importing :mod:`rs_course.metrics` needs no torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
