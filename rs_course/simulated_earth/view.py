"""The window through which a world is seen, the layers that painters return, and the colours they paint with.

Colours are written as they look in a Sentinel-2 true-colour product: EuroSAT's pictures map top-of-atmosphere
reflectance 0 … 0.275 of bands 4, 3, 2 to 0 … 255. ``surface`` turns such a colour into surface reflectance
under a clear sky, which the renderer lights and puts air over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .deterministic import lattice_noise, spacing_near

SIZE = 256  # pixels of the high-resolution image along each side
_ALL = slice(0, SIZE)

#: Land-cover name -> (id, display colour).
LANDCOVER = {
    "water": (0, "#3b6ea8"), "trees": (1, "#1f5c3a"), "grassland": (2, "#8fbf6a"), "cropland": (3, "#e3c878"),
    "permanent crop": (4, "#b5893c"), "scrub": (5, "#a79a7a"), "bare ground": (6, "#d9cbb8"),
    "building": (7, "#b3402e"), "paved": (8, "#a8a8b0"), "road": (9, "#45454d"), "garden": (10, "#6fa287")
}  # fmt: skip
WATER, TREES, GRASS, CROP, PERMANENT, SCRUB, BARE, BUILDING, PAVED, ROAD, GARDEN = range(11)


@dataclass
class Layer:
    """What a painter returns for a view.

    Attributes:
        rgb: Surface reflectance, float32 ``[3, h, w]``.
        cover: Land-cover ids, uint8 ``[h, w]``.
        height: Height above ground in metres of what casts shadow, float32 ``[h, w]``.
    """

    rgb: np.ndarray
    cover: np.ndarray
    height: np.ndarray

    def put(
        self, mask: np.ndarray, colour: Sequence[float], cover: int, height: float | np.ndarray = 0.0
    ) -> None:
        """Paint one material where ``mask`` holds; ``colour`` is three numbers or planes."""
        for plane, value in zip(self.rgb, colour, strict=True):
            np.copyto(plane, np.float32(value), where=mask)
        np.copyto(self.cover, np.uint8(cover), where=mask)
        np.copyto(self.height, np.float32(height), where=mask)

    def merge(self, other: Layer, mask: np.ndarray) -> None:
        """Take ``other`` where ``mask`` holds."""
        for plane, value in zip(self.rgb, other.rgb, strict=True):
            np.copyto(plane, value, where=mask)
        np.copyto(self.cover, other.cover, where=mask)
        np.copyto(self.height, other.height, where=mask)

    def blend(self, colour: Sequence[float], share: float) -> list[np.ndarray]:
        """Planes of this layer with a ``share`` of another colour."""
        keep = np.float32(1 - share)
        return [plane * keep + np.float32(share * c) for plane, c in zip(self.rgb, colour, strict=True)]

    def window(self, rows: slice, cols: slice) -> Layer:
        """The same memory, restricted to a window."""
        return Layer(self.rgb[:, rows, cols], self.cover[rows, cols], self.height[rows, cols])


class View:
    """A window of a world whose origin is the centre of the tile; x points east and y north, in metres.

    Args:
        step: Pixel size in metres (a quarter of the ground sampling distance).
        rows, cols: The part of the 256 × 256 image that this view covers.
        offset: Displacement in metres of the whole window (clouds use it for their shadows).
    """

    def __init__(self, step: float, rows: slice = _ALL, cols: slice = _ALL, offset=(0.0, 0.0)):
        self.step, self.rows, self.cols, self.offset = step, rows, cols, offset
        self._cache = {}
        self.frames = {}  # of curves, see lines.Curve
        half = (SIZE - 1) / 2
        self.shape = (self.rows.stop - self.rows.start, self.cols.stop - self.cols.start)
        self.x = (np.arange(cols.start, cols.stop) - half).astype(np.float32)[None] * np.float32(step)
        self.y = (half - np.arange(rows.start, rows.stop)).astype(np.float32)[:, None] * np.float32(step)

    @property
    def reach(self) -> float:
        """Distance in metres from the origin to the farthest corner of the full tile."""
        return SIZE / 2 * self.step * 1.4143 + self.step

    def noise(self, key: int, spacing: float) -> np.ndarray:
        """Smooth noise over the view (do not write to it: it is cached); never finer than two pixels."""
        at = (key, spacing)
        if at not in self._cache:
            spacing = spacing_near(max(spacing, 2 * self.step))
            half = (SIZE - 1) / 2 * self.step
            x, y = (self.offset[0] - half, self.step, SIZE), (self.offset[1] + half, -self.step, SIZE)
            self._cache[at] = lattice_noise(key, spacing, x, y, self.rows, self.cols)
        return self._cache[at]

    def box(self, x: float, y: float, radius: float) -> View | None:
        """The part of the view within ``radius`` metres of a point, or ``None`` when it is out of sight."""
        half = (SIZE - 1) / 2
        col, row, r = x / self.step + half, half - y / self.step, radius / self.step
        top, bottom = max(int(row - r), self.rows.start), min(int(row + r) + 2, self.rows.stop)
        left, right = max(int(col - r), self.cols.start), min(int(col + r) + 2, self.cols.stop)
        if top >= bottom or left >= right:
            return None
        return View(self.step, slice(top, bottom), slice(left, right), self.offset)

    def around(self, mask: np.ndarray) -> View | None:
        """The window around a mask of this (full) view, in steps of 32 pixels; ``None`` for an empty mask."""
        rows, cols = mask.any(1).nonzero()[0], mask.any(0).nonzero()[0]
        if len(rows) == 0:
            return None
        edges = [(int(t[0]) // 32 * 32, int(t[-1]) // 32 * 32 + 32) for t in (rows, cols)]
        return View(self.step, slice(*edges[0]), slice(*edges[1]), self.offset)

    def blank(self, colour: Sequence[float], cover: int) -> Layer:
        """A layer of one material."""
        rgb = np.empty((3, *self.shape), np.float32)
        rgb[:] = np.asarray(colour, np.float32)[:, None, None]
        return Layer(rgb, np.full(self.shape, cover, np.uint8), np.zeros(self.shape, np.float32))


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
