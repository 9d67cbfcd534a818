"""One small world with the whole truth: Sentinel-2-like scenes of EuroSAT's ten classes, from a seed.

>>> from rs_course import simulated_earth
>>> river = simulated_earth.scene("River", seed=7)
>>> river.image.shape, river.image_hr.shape
((64, 64, 3), (256, 256, 3))
>>> winter = simulated_earth.scene("River", seed=7, date="2021-01-15", cloud_cover=0.3)  # the same place

Every pixel is a function of the arguments: the same bytes in every process and on every machine.
"""

from .place import CLASSES
from .scene import Scene, scene, tiles
from .view import LANDCOVER

#: Changes whenever the same arguments would give other pixels.
VERSION = "2026.11.1"

__all__ = ["CLASSES", "LANDCOVER", "VERSION", "Scene", "scene", "tiles"]
