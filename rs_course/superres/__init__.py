"""Super-resolution: networks, degradations, tiling, and the losses that trained them.

>>> from rs_course import superres
>>> network = superres.load("mini-dscf")                                        # doctest: +SKIP
>>> sharp = superres.upscale(superres.degradation.bicubic(high), network)       # doctest: +SKIP
"""

from rs_course import lazy

_HOME = {
    "load": "loading",
    "build": "loading",
    "imresize": "resize",
    "upscale": "inference",
    "SPAN": "span",
    "EFDN": "efdn",
}
_SUBMODULES = (
    "baselines",
    "conv_lora",
    "degradation",
    "distillation",
    "efdn",
    "generative",
    "inference",
    "inputs",
    "learning",
    "loading",
    "quality",
    "resize",
    "scenes",
    "span",
)

__getattr__, __dir__ = lazy.attach(__name__, _HOME, _SUBMODULES)
