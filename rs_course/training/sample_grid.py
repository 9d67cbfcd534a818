"""What a generator draws while it is trained: a grid of tiles beside each line of the log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

# Few steps and some guidance: enough to see what has been learnt, and a second of a processor core.
SETTINGS = {"steps": 12, "guidance": 3.0, "seed": 0}
# Tiles ``[R N, 3, H, W]`` in [0, 1], row by row, and what each of R rows shows: (label, kind of provenance).
Grid = tuple[torch.Tensor, list[tuple[str, str]]]


def write_grid(out: Path, draw: Callable[[Path], Grid], step: int) -> None:
    """Let the checkpoint in ``out`` draw, and write ``out/samples/STEP.png``."""
    from rs_course import plots

    tiles, rows = draw(out)
    columns = len(tiles) // len(rows)
    badges = [f"{kind} · {out.name}, step {step}" if kind == "generated" else kind for _, kind in rows]
    figure = plots.tiles(
        tiles,
        provenance=[badge for badge in badges for _ in range(columns)],
        columns=columns,
        scale=0.9,
        row_labels=[label for label, _ in rows],
    )
    (out / "samples").mkdir(exist_ok=True)
    figure.savefig(out / "samples" / f"{step:06d}.png")


def of_classes(collection: str, settings: dict = SETTINGS) -> Callable[[Path], Grid]:
    """One tile of each class of ``"eurosat"`` or ``"simulated"``, by its prompt alone."""

    def draw(out: Path) -> Grid:
        from rs_course import checkpoints, datasets

        prompts = [datasets.class_prompt(k, collection) for k in range(10)]
        return checkpoints.load(out).sample(prompts, **settings), [("each class", "generated")]

    return draw


def beside(shown: dict[str, torch.Tensor], sample: Callable[[Path], torch.Tensor]) -> Callable[[Path], Grid]:
    """What tiles are made from, row by row, above what ``sample(out)`` makes of it.

    Args:
        shown: Label to tiles ``[N, 3, H, W]``, simulated or computed from simulated ones.
        sample: ``[N, 3, H, W]`` from the checkpoint in a folder.
    """
    rows = [(label, "simulated") for label in shown]

    def draw(out: Path) -> Grid:
        return torch.cat([*shown.values(), sample(out)]), [*rows, ("made of it", "generated")]

    return draw
