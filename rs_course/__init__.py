"""Helper package of the course "Is synthetic data from generative models ready for image recognition?"

>>> import rs_course
>>> scene = rs_course.simulated_earth.scene("River", seed=0)  # doctest: +SKIP

The submodules below load on first use, so that ``import rs_course`` stays fast: torch and diffusers are
imported only by the functions that need them.
"""

from . import lazy

__version__ = "1.0.0"

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
    "study",
    "study",
    "superres",
    "toys",
    "training",
    "widgets",
)

__getattr__, __dir__ = lazy.attach(__name__, submodules=_SUBMODULES)
