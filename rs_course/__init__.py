"""Helper package of the course "Is synthetic data from generative models ready for image recognition?"

>>> import rs_course
>>> scene = rs_course.simulated_earth.scene("River", seed=0)  # doctest: +SKIP

The submodules below load on first use, so that ``import rs_course`` stays fast: torch and diffusers are
imported only by the functions that need them.
"""

from importlib import import_module

__version__ = "0.1.0"

_SUBMODULES = (
    "alignment",
    "check",
    "checkpoints",
    "classification",
    "datasets",
    "diffusion",
    "generation",
    "grading",
    "metrics",
    "plots",
    "quiz",
    "sampling",
    "simulated_earth",
    "superres",
    "toys",
    "training",
    "widgets",
)


def __getattr__(name):
    if name in _SUBMODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *_SUBMODULES])
