"""What mini-crsdiff and the mini ControlNets learn from: simulated scenes with maps, at two dates each."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np

from rs_course import simulated_earth

from .training_sets import DRAWN, any_day, conditions, place, rendered

MAP_SIDE = 128  # eight map pixels per latent pixel, as CRS-Diff has them


class MappedScenes(NamedTuple):
    """Scenes with their maps; N rows each.

    Attributes:
        images: uint8 ``[N, 64, 64, 3]``.
        other_images: The same places on another date.
        truth: uint8 ``[N, 3, 128, 128]``: share of road, height over the scene's own range, class.
        filtered: uint8 ``[N, 3, 64, 64]``: lines, edges and sketch that scikit-image finds in ``images``.
        labels: Class numbers ``[N]``.
        captions: Per scene, its sentences.
        metadata, other_metadata: Per scene, those of ``images`` and of ``other_images``.
    """

    images: np.ndarray
    other_images: np.ndarray
    truth: np.ndarray
    filtered: np.ndarray
    labels: np.ndarray
    captions: list[list[str]]
    metadata: list[dict]
    other_metadata: list[dict]


def scenes(count: int, *, draw: int = 3) -> MappedScenes:
    """The first ``count`` scenes of a draw, rendered once into the cache; classes take turns.

    Conditions vary as in :func:`rs_course.training.training_sets.varied`. The other date is any day of those
    years; it is cloudless in two of three scenes, because under a cloud there is no season to learn.

    Args:
        count: Number of scenes.
        draw: Which places of the simulator's training split.
    """
    arrays, rows = rendered(f"mapped-{draw}-{DRAWN}", count, partial(_row, draw))
    labels = np.arange(count) % len(simulated_earth.CLASSES)
    lists = ([row[key] for row in rows] for key in ("captions", "metadata", "other_metadata"))
    return MappedScenes(*arrays, labels, *lists)


def maps(truth: np.ndarray, filtered: np.ndarray, device=None):
    """CRS-Diff's 18 channels, float ``[N, 18, 128, 128]`` in [0, 1], in the order of ``crsdiff.MAPS``.

    Args:
        truth, filtered: Those of :class:`MappedScenes`.
        device: Where they are computed and lie.
    """
    import torch
    import torch.nn.functional as F

    from rs_course.checkpoints.maps import painted

    truth, filtered = (torch.from_numpy(part).to(device) for part in (truth, filtered))
    fine, coarse = truth[:, :2].float() / 255, filtered.float() / 255
    # ``sample`` enlarges maps that are drawn on the tile's own pixels, with another kernel of the same kind.
    coarse = F.interpolate(coarse, size=(MAP_SIDE, MAP_SIDE), mode="bicubic", antialias=True).clamp(0, 1)
    grey = torch.cat([coarse, fine], dim=1).repeat_interleave(3, dim=1)
    return torch.cat([grey, painted(truth[:, 2])], dim=1)


def _row(draw: int, k: int):
    from rs_course.checkpoints import maps as extract

    chosen = conditions(k, draw)
    rng = np.random.default_rng([draw, k, 1])
    day = any_day(rng)
    clear = rng.random() < 2 / 3
    one = simulated_earth.scene(*place(k, draw), **chosen)
    changed = {**chosen, "date": day} | ({"cloud_cover": 0.0} if clear else {})
    other = simulated_earth.scene(*place(k, draw), **changed)

    true = extract.maps_of_scene(one, MAP_SIDE)
    road, height = (np.uint8(true[name][0, 0].numpy() * 255 + 0.5) for name in ("road", "depth"))
    step = 256 // MAP_SIDE
    classes = extract.classes_of_scene(one)[step // 2 :: step, step // 2 :: step]
    found = [find(one.image)[0, 0].numpy() for find in (extract.lines, extract.edges, extract.sketch)]
    arrays = (
        one.image,
        other.image,
        np.stack([road, height, classes]),
        np.uint8(np.stack(found) * 255 + 0.5),
    )
    return arrays, {
        "captions": list(one.captions),
        "metadata": one.metadata,
        "other_metadata": other.metadata,
    }
