"""Helper package of the course "Is synthetic data from generative models ready for image recognition?"

>>> import rs_course
>>> scene = rs_course.simulated_earth.scene("River", seed=0)  # doctest: +SKIP

The submodules below load on first use, so that ``import rs_course`` stays fast: torch and diffusers are
imported only by the functions that need them.
"""

__version__ = "1.0.0"

try:
    import lazy_loader
except ModuleNotFoundError:  # `python3 -m rs_course.cli setup` runs before anything is installed
    __all__ = []
else:
    __getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
