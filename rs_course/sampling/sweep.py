"""A grid of tiles in which one thing changes down the rows and another across the columns.

>>> look = sweep(model, "a river", rows={"guidance": [1, 4]}, columns={"noise": range(6)})  # doctest: +SKIP
>>> look.figure(provenance="generated · mini-diffusionsat · seed 0")  # doctest: +SKIP

Everything else stays the same, the initial noise included, so that what differs between two tiles of a row is
the column's doing.
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass

import torch

from rs_course import seeds
from rs_course.checkpoints.prompts import FIELDS

# What an image has for itself; all other axes are settings of a whole call.
_PER_IMAGE = ("prompt", "negative_prompt", "noise", *FIELDS)
_WORDING = {
    "month": lambda m: calendar.month_abbr[m],
    "cloud_cover": lambda share: f"{share:.0%} cloud",
    "gsd": lambda metres: f"{metres:g} m",
    "lat": lambda degrees: f"{abs(degrees):g}° {'N' if degrees >= 0 else 'S'}",
    "steps": lambda n: f"{n} steps",
    "prompt": str,
    "negative_prompt": lambda text: f"not: {text}" if text else "nothing",
    "sampler": lambda name: name or "own sampler",
}


@dataclass(frozen=True)
class Sweep:
    """Tiles over two axes.

    Attributes:
        images: ``[R, C, 3, H, W]`` in [0, 1].
        row_labels: R strings.
        column_labels: C strings.
    """

    images: torch.Tensor
    row_labels: list[str]
    column_labels: list[str]

    def figure(self, *, provenance, scale: float = 1.0, suptitle=None, row_labels=None):
        """The grid as a matplotlib ``Figure`` with its badge; ``row_labels`` replace the sweep's own."""
        from rs_course import plots

        rows, columns = self.images.shape[:2]
        return plots.tiles(
            self.images.flatten(0, 1),
            [*self.column_labels, *[""] * (columns * (rows - 1))],
            row_labels=(row_labels or self.row_labels) if rows > 1 else None,
            provenance=provenance,
            columns=columns,
            scale=scale,
            suptitle=suptitle,
        )


def sweep(checkpoint, prompt: str, rows=None, columns=None, *, metadata=None, seed=0, **settings) -> Sweep:
    """Sample every combination of two axes.

    An axis is a dict with one entry, name to values. The name is any setting of ``Checkpoint.sample``
    (``guidance``, ``steps``, ``sampler``, ``strength``, ...), a metadata field (``month``, ``gsd``, ...),
    ``prompt``, ``negative_prompt``, or ``noise``: the index i of the initial noise of image (seed, i).

    Args:
        checkpoint: From ``rs_course.checkpoints.load``.
        prompt: Where no axis changes it.
        rows: Axis down; one row without it.
        columns: Axis across; one column without it.
        metadata: Fields that stay the same, physical units.
        seed: Of the noise.
        settings: Further arguments of ``Checkpoint.sample``, the same for all tiles.

    Raises:
        ValueError: An axis with no or several names, or the same name twice.
    """
    (down, downs), (across, acrosses) = _axis(rows, "rows"), _axis(columns, "columns")
    if down == across and down is not None:
        raise ValueError(f"rows and columns both change {down!r}: name two different things.")
    cells = [{down: a, across: b} for a in downs for b in acrosses]
    size = settings.pop("size", None) or checkpoint.default_size
    groups: dict = {}
    for index, cell in enumerate(cells):
        own = {name: value for name, value in cell.items() if name and name not in _PER_IMAGE}
        groups.setdefault(tuple(own.items()), []).append(index)
    tiles = [None] * len(cells)
    for own, members in groups.items():
        chosen = [cells[index] for index in members]
        drawn = checkpoint.sample(
            **_per_image(checkpoint, chosen, prompt, metadata, size, seed),
            size=size,
            seed=seed,
            **{**settings, **dict(own)},
        )
        for index, image in zip(members, drawn, strict=True):
            tiles[index] = image
    images = torch.stack(tiles).unflatten(0, (len(downs), len(acrosses)))
    return Sweep(images, _labels(down, downs), _labels(across, acrosses))


def _axis(axis, what: str):
    if axis is None:
        return None, [None]
    if len(axis) != 1 or not (values := list(next(iter(axis.values())))):
        raise ValueError(f"{what} is one name with its values, such as {{'guidance': [1, 4]}}, not {axis!r}.")
    return next(iter(axis)), values


def _per_image(checkpoint, cells: list[dict], prompt, metadata, size, seed) -> dict:
    """Arguments of ``sample`` that have one row per image."""
    channels, factor = checkpoint.vae.config.latent_channels, checkpoint.vae_factor
    shape = (len(cells), channels, *(side // factor for side in size))
    rows = {
        "prompts": [cell.get("prompt", prompt) for cell in cells],
        "latents": seeds.noise(shape, seed=seed, indices=[cell.get("noise", 0) for cell in cells]),
    }
    if any("negative_prompt" in cell for cell in cells):
        rows["negative_prompt"] = [cell.get("negative_prompt", "") for cell in cells]
    if metadata is not None or any(name in FIELDS for cell in cells for name in cell):
        own = [{name: cell[name] for name in FIELDS if name in cell} for cell in cells]
        rows["metadata"] = [{**(metadata or {}), **row} for row in own]
    return rows


def _labels(name, values) -> list[str]:
    if name is None:
        return [""]
    return [_WORDING.get(name, lambda value: f"{name} {value}")(value) for value in values]
