"""Surface colours, written as they look in a Sentinel-2 true-colour product, and the air above them.

EuroSAT's pictures map top-of-atmosphere reflectance 0 … 0.275 of bands 4, 3, 2 to 0 … 255. ``surface``
turns such a colour into surface reflectance under a clear sky, which the renderer lights and puts air over.
"""

from __future__ import annotations

import numpy as np

DN = 255 / 0.275  # digital numbers per unit of reflectance
PATH = np.array(
    [0.0232, 0.0425, 0.0700], np.float32
)  # clear-sky path reflectance (black water looks 22, 39, 65)
CLEAR = np.array([0.93, 0.89, 0.84], np.float32)  # two-way transmittance


def surface(*rgb: float) -> np.ndarray:
    """Surface reflectance float32 [3] of an observed 8-bit colour; never below 0.002."""
    return np.maximum((np.array(rgb, np.float32) / np.float32(DN) - PATH) / CLEAR, np.float32(0.002))


def surfaces(*colours: tuple) -> np.ndarray:
    """Several colours as float32 ``[n, 3]``."""
    return np.stack([surface(*c) for c in colours])


SOILS = {  # name: (dry, moist)
    "pale": ((204, 167, 156), (160, 138, 134)),
    "brown": ((158, 136, 132), (118, 110, 110)),
    "red": ((212, 150, 132), (160, 114, 106)),
    "dark": ((116, 108, 108), (86, 88, 94)),
    "straw": ((236, 186, 162), (188, 156, 142)),
    "white": ((232, 208, 194), (186, 168, 158)),
}
WATERS = {  # name: (deep, shallow or silty)
    "dark blue": ((25, 43, 70), (30, 52, 76)),
    "blue": ((34, 58, 82), (42, 72, 92)),
    "teal": ((42, 72, 86), (58, 92, 98)),
    "turquoise": ((74, 110, 116), (92, 128, 128)),
    "green": ((62, 92, 88), (84, 122, 104)),
    "olive": ((58, 78, 82), (74, 92, 88)),
    "silty": ((92, 104, 110), (112, 110, 112)),
    "bright": ((40, 108, 122), (60, 168, 170)),
}
ROOFS = {
    "slate": ((96, 98, 110), (120, 120, 130), (84, 88, 100), (140, 136, 142)),
    "tile": ((170, 118, 112), (196, 134, 122), (150, 112, 112), (214, 156, 140)),
    "mixed": ((120, 116, 124), (172, 124, 118), (150, 146, 150), (100, 102, 112)),
    "pale": ((206, 186, 172), (228, 210, 198), (184, 164, 156), (236, 192, 168)),
}
HALLS = surfaces(
    (250, 250, 252), (240, 238, 240), (255, 255, 255), (226, 218, 220), (190, 190, 198), (150, 152, 162),
    (120, 124, 136), (104, 110, 126), (176, 170, 172), (92, 96, 110), (206, 196, 190), (132, 150, 186),
    (210, 150, 140), (168, 176, 186), (255, 252, 240), (138, 136, 144),
)  # fmt: skip
