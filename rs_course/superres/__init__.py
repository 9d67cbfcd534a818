"""Super-resolution: networks, degradations, tiling, and the losses that trained them.

>>> from rs_course import superres
>>> network = superres.load("mini-dscf")                                        # doctest: +SKIP
>>> sharp = superres.upscale(superres.degradation.bicubic(high), network)       # doctest: +SKIP
"""

from importlib import import_module

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
    "inference",
    "inputs",
    "learning",
    "loading",
    "quality",
    "resize",
    "scenes",
    "span",
)


def __getattr__(name):
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    if name in _SUBMODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *_HOME, *_SUBMODULES])
