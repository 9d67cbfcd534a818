"""Maps drawn by hand: strokes on a coarse board become the ``conditions`` of CRS-Diff.

>>> plan = [Stroke("water", "oval", (3, 2), (9, 7)), Stroke("road", "line", (0, 12), (15, 12))]
>>> checkpoint.sample("a lake by a road", conditions=conditions(plan))  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .maps import SEGMENTATION_COLOURS, painted

if TYPE_CHECKING:
    import torch

BOARD = 16  # cells along each side
SHAPES = ("line", "oval", "box")
COVERS = tuple(SEGMENTATION_COLOURS)
# Of a line, as a share of the tile: on 640 m a road of 16 m, a river of 60 m, hedges and rows of 30 m.
_WIDTHS = {"road": 0.025, "water": 0.09}
_WIDTH = 0.05


class Stroke(NamedTuple):
    """One shape of one land cover.

    Attributes:
        cover: One of :data:`COVERS`.
        shape: One of :data:`SHAPES`; an oval or box fills the rectangle between the two cells.
        start: (row, column) of a cell, 0 to 15 from the top left.
        end: The cell where it ends.
    """

    cover: str
    shape: str
    start: tuple[int, int]
    end: tuple[int, int]


def classes(strokes: Iterable[Stroke], side: int = 128) -> np.ndarray:
    """Segmentation classes uint8 ``[side, side]``, places in :data:`COVERS`; later strokes lie on top.

    Raises:
        ValueError: An unknown cover or shape, or a cell outside the board.
    """
    y, x = (axis / (side - 1) for axis in np.mgrid[:side, :side])
    drawn = np.zeros((side, side), np.uint8)
    for stroke in map(_checked, strokes):
        drawn[_inside(stroke, y, x)] = COVERS.index(stroke.cover)
    return drawn


def conditions(strokes: Iterable[Stroke], side: int = 128) -> dict[str, torch.Tensor]:
    """``segmentation`` and ``road``, each ``[1, 3, side, side]`` in [0, 1]; a road lies in both.

    Raises:
        ValueError: As :func:`classes`.
    """
    import torch

    drawn = classes(strokes, side)
    road = torch.from_numpy(drawn == COVERS.index("road")).float().expand(1, 3, -1, -1)
    return {"road": road, "segmentation": painted(drawn)[None]}


def _inside(stroke: Stroke, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Where a stroke lies, bool; the board's outer cells reach the edge of the tile."""
    (y0, x0), (y1, x1) = (np.divide(cell, BOARD - 1) for cell in (stroke.start, stroke.end))
    if stroke.shape == "line":
        dy, dx = y1 - y0, x1 - x0
        along = ((y - y0) * dy + (x - x0) * dx) / max(dy * dy + dx * dx, 1e-9)
        along = along.clip(0, 1)
        distance = np.hypot(y - y0 - along * dy, x - x0 - along * dx)
        width = max(_WIDTHS.get(stroke.cover, _WIDTH), 1 / (len(y) - 1))  # a line never falls between pixels
        return distance <= width / 2
    half_cell = 0.5 / (BOARD - 1)  # so that one cell is an area too
    v = (y - (y0 + y1) / 2) / (abs(y1 - y0) / 2 + half_cell)
    u = (x - (x0 + x1) / 2) / (abs(x1 - x0) / 2 + half_cell)
    return u * u + v * v <= 1 if stroke.shape == "oval" else np.maximum(abs(u), abs(v)) <= 1


def _checked(stroke) -> Stroke:
    stroke = Stroke(*stroke)
    for value, known, what in ((stroke.cover, COVERS, "cover"), (stroke.shape, SHAPES, "shape")):
        if value not in known:
            raise ValueError(f"There is no {what} {value!r} to draw: use one of {', '.join(known)}.")
    for cell in (stroke.start, stroke.end):
        if len(cell) != 2 or not all(0 <= place < BOARD for place in cell):
            raise ValueError(f"{tuple(cell)} is no cell: rows and columns run from 0 to {BOARD - 1}.")
    return stroke
