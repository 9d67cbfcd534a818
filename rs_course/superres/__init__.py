"""Super-resolution: networks, degradations, tiling, and the losses that trained them.

>>> from rs_course import superres
>>> network = superres.load("mini-dscf")                                        # doctest: +SKIP
>>> sharp = superres.upscale(superres.degradation.bicubic(high), network)       # doctest: +SKIP
"""

import lazy_loader

from rs_course.deprecation import old_names

_RENAMED = {
    "distillation": "learning", "efdn": "networks", "generative": "baselines", "inference": "loading",
    "inputs": "networks", "resize": "degradation", "scenes": "degradation", "span": "networks"
}  # fmt: skip
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__getattr__ = old_names(__name__, _RENAMED, __getattr__)
