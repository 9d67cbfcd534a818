"""Super-resolution: networks, degradations, tiling, and the losses that trained them.

>>> from rs_course import superres
>>> network = superres.load("mini-dscf")                                        # doctest: +SKIP
>>> sharp = superres.upscale(superres.degradation.bicubic(high), network)       # doctest: +SKIP
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
