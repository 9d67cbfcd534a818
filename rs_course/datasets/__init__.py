"""Data sets of the course, all with one record type.

>>> from rs_course import datasets
>>> data = datasets.load("simulated", "train", size=100)  # doctest: +SKIP
>>> record = data[0]                                       # doctest: +SKIP

``load`` takes a name or a path; the fields of a record are described in :mod:`rs_course.datasets.record`.
"""

import lazy_loader

from rs_course.deprecation import old_names

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__getattr__ = old_names(__name__, {"events": "disasters", "diffusionsat": "simulated"}, __getattr__)
