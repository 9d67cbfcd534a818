"""Condition maps for CRS-Diff: from a picture with classical filters, and from a simulated scene's own truth.

The published annotators are neural networks, some of them private. These stand in for them and need only
scikit-image; strokes drawn by hand make maps as well:

>>> plan = [Stroke("water", "oval", (3, 2), (9, 7)), Stroke("road", "line", (0, 12), (15, 12))]
>>> checkpoint.sample("a lake by a road", conditions=maps_of_strokes(plan))  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from rs_course.deprecation import old_names

from .images import Pictures, images

if TYPE_CHECKING:
    from rs_course.simulated_earth import Scene

# LoveDA's classes with the colours of the published segmentation maps.
SEGMENTATION_COLOURS = {
    "background": (255, 255, 255), "building": (255, 0, 0), "road": (255, 255, 0), "water": (0, 0, 255),
    "barren": (159, 129, 183), "forest": (0, 255, 0), "agriculture": (255, 195, 128),
}  # fmt: skip
# Land cover of the simulated Earth in these classes; the rest is background.
_CLASS_OF = {
    "water": "water", "trees": "forest", "cropland": "agriculture", "permanent crop": "agriculture",
    "bare ground": "barren", "building": "building", "road": "road",
}  # fmt: skip


def edges(pictures: Pictures) -> torch.Tensor:
    """Soft edges for ``conditions["hed"]``: gradient magnitude of the smoothed picture, bright on black.

    Args:
        pictures: In any form of ``images.images``.

    Returns:
        Float tensor ``[N, 3, H, W]`` in [0, 1]; so do the functions below.
    """
    from skimage.filters import sobel

    def soft(grey):
        magnitude = sobel(grey)
        return np.clip(magnitude / max(np.quantile(magnitude, 0.99), 1e-6), 0, 1)

    return _each(soft, pictures, blur=1.0)


def lines(pictures: Pictures, *, shortest: int = 12) -> torch.Tensor:
    """Straight lines for ``conditions["mlsd"]``: one pixel wide, white on black, from a probabilistic Hough
    transform.

    Args:
        pictures: In any form of ``images.images``.
        shortest: Length in pixels below which a line is left out.
    """
    from skimage.draw import line
    from skimage.feature import canny
    from skimage.transform import probabilistic_hough_line

    def straight(grey):
        drawn = np.zeros_like(grey)
        # The transform visits the edge pixels in random order; a fixed one makes the map a function of the
        # picture.
        for (x0, y0), (x1, y1) in probabilistic_hough_line(
            canny(grey, sigma=1.0), threshold=10, line_length=shortest, line_gap=2, rng=0
        ):
            drawn[line(y0, x0, y1, x1)] = 1
        return drawn

    return _each(straight, pictures)


def sketch(pictures: Pictures) -> torch.Tensor:
    """Pencil strokes for ``conditions["sketch"]``: thin dark contours on white."""
    from skimage.feature import canny
    from skimage.filters import gaussian

    return _each(
        lambda grey: 1 - np.clip(1.5 * gaussian(canny(grey, sigma=1.5).astype(float), 0.6), 0, 1), pictures
    )


def classes_of_scene(scene: Scene) -> np.ndarray:
    """Segmentation of a simulated scene: uint8 ``[256, 256]``, places in :data:`SEGMENTATION_COLOURS`."""
    from rs_course.simulated_earth import LANDCOVER

    names = list(SEGMENTATION_COLOURS)
    number_of = np.zeros(256, dtype=np.uint8)
    for name, (number, _) in LANDCOVER.items():
        number_of[number] = names.index(_CLASS_OF.get(name, "background"))
    return number_of[scene.landcover]


def painted(classes: np.ndarray) -> torch.Tensor:
    """Segmentation classes ``[..., H, W]`` in their colours: float ``[..., 3, H, W]`` in [0, 1]."""
    classes = torch.as_tensor(classes).long()
    colours = torch.tensor(list(SEGMENTATION_COLOURS.values()), device=classes.device).float() / 255
    return colours[classes].movedim(-1, -3)


def maps_of_scene(scene: Scene, size: int | None = None) -> dict[str, torch.Tensor]:
    """True maps of a simulated scene: ``road``, ``depth`` and ``segmentation``.

    Args:
        scene: From ``simulated_earth.scene``.
        size: Side of the maps in pixels; ``None`` is the high-resolution picture's.

    Returns:
        Dict for ``conditions``; each ``[1, 3, size, size]``. Depth is bright where the ground is high, that
        is near to the sensor, over the scene's own range.
    """
    low, high = scene.elevation.min(), scene.elevation.max()
    layers = {
        "road": np.repeat(scene.roads[..., None], 3, axis=2).astype(np.float32),
        "depth": np.repeat(((scene.elevation - low) / max(high - low, 1e-6))[..., None], 3, axis=2),
    }
    tensors = {name: torch.from_numpy(layer).float().movedim(-1, 0)[None] for name, layer in layers.items()}
    tensors["segmentation"] = painted(classes_of_scene(scene))[None]
    if size is None:
        return tensors
    shrink = torch.nn.functional.adaptive_avg_pool2d
    # A road is narrower than a coarse pixel, so it is averaged; the class colours must not be mixed.
    nearest = torch.nn.functional.interpolate(tensors["segmentation"], (size, size), mode="nearest-exact")
    return {name: shrink(map_, size) for name, map_ in tensors.items()} | {"segmentation": nearest}


def _each(filter_, pictures, blur: float = 0.0) -> torch.Tensor:
    from skimage.filters import gaussian

    grey = images(pictures, "pictures", mode="L")[:, 0].numpy()
    results = [filter_(gaussian(picture, blur) if blur else picture) for picture in grey]
    return torch.from_numpy(np.stack(results)).float()[:, None].repeat(1, 3, 1, 1)


__getattr__ = old_names(
    __name__, {"BOARD": "GRID", "classes": "classes_of_strokes", "conditions": "maps_of_strokes"}
)
GRID = 16  # cells along each side of the map that strokes are drawn on
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


def classes_of_strokes(strokes: Iterable[Stroke], side: int = 128) -> np.ndarray:
    """Segmentation classes uint8 ``[side, side]``, places in :data:`COVERS`; later strokes lie on top.

    Raises:
        ValueError: An unknown cover or shape, or a cell outside the map.
    """
    y, x = (axis / (side - 1) for axis in np.mgrid[:side, :side])
    drawn = np.zeros((side, side), np.uint8)
    for stroke in map(_checked, strokes):
        drawn[_inside(stroke, y, x)] = COVERS.index(stroke.cover)
    return drawn


def maps_of_strokes(strokes: Iterable[Stroke], side: int = 128) -> dict[str, torch.Tensor]:
    """``segmentation`` and ``road``, each ``[1, 3, side, side]`` in [0, 1]; a road lies in both.

    Raises:
        ValueError: As :func:`classes_of_strokes`.
    """
    drawn = classes_of_strokes(strokes, side)
    road = torch.from_numpy(drawn == COVERS.index("road")).float().expand(1, 3, -1, -1)
    return {"road": road, "segmentation": painted(drawn)[None]}


def _inside(stroke: Stroke, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Where a stroke lies, bool; the outer cells reach the edge of the tile."""
    (y0, x0), (y1, x1) = (np.divide(cell, GRID - 1) for cell in (stroke.start, stroke.end))
    if stroke.shape == "line":
        dy, dx = y1 - y0, x1 - x0
        along = ((y - y0) * dy + (x - x0) * dx) / max(dy * dy + dx * dx, 1e-9)
        along = along.clip(0, 1)
        distance = np.hypot(y - y0 - along * dy, x - x0 - along * dx)
        width = max(_WIDTHS.get(stroke.cover, _WIDTH), 1 / (len(y) - 1))  # a line never falls between pixels
        return distance <= width / 2
    half_cell = 0.5 / (GRID - 1)  # so that one cell is an area too
    v = (y - (y0 + y1) / 2) / (abs(y1 - y0) / 2 + half_cell)
    u = (x - (x0 + x1) / 2) / (abs(x1 - x0) / 2 + half_cell)
    return u * u + v * v <= 1 if stroke.shape == "oval" else np.maximum(abs(u), abs(v)) <= 1


def _checked(stroke) -> Stroke:
    stroke = Stroke(*stroke)
    for value, known, what in ((stroke.cover, COVERS, "cover"), (stroke.shape, SHAPES, "shape")):
        if value not in known:
            raise ValueError(f"There is no {what} {value!r} to draw: use one of {', '.join(known)}.")
    for cell in (stroke.start, stroke.end):
        if len(cell) != 2 or not all(0 <= place < GRID for place in cell):
            raise ValueError(f"{tuple(cell)} is no cell: rows and columns run from 0 to {GRID - 1}.")
    return stroke
