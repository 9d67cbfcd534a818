"""Making a synthetic set: the plan of a recipe, and its images as a folder of Parquet shards.

    wanted = plan(class_prompts("basic", classes), per_class=100)
    make(folder, checkpoint, wanted, classes, name="mini-text2earth")

Image i is a function of the plan's row i and (seed, i), so shards can be made on several machines, and a
folder that was interrupted is completed by the same call.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rs_course.checkpoints.images import pixels
from rs_course.classification.inputs import as_tensor, to_float
from rs_course.classification.recipes import guidance_strength
from rs_course.classification.sets import Tiles


class Wanted(NamedTuple):
    """One image of a plan: its class number, its prompt, and the row of the real shot it starts from."""

    label: int
    prompt: str
    shot: int | None = None


def plan(prompts: Mapping[str, Sequence[str]], per_class: int, *, shots: Tiles | None = None) -> list[Wanted]:
    """Rows of a synthetic set, classes taking turns, so that its beginning is a smaller balanced set.

    Args:
        prompts: Prompts of each class, in label order; they are used in turn.
        per_class: Images of each class.
        shots: Real images for real guidance, used in turn.

    Raises:
        ValueError: A class without prompts or shots, or different classes.
    """
    if empty := [name for name, own in prompts.items() if not own]:
        raise ValueError(f"The class {empty[0]} has no prompt.")
    if shots is not None:
        if shots.classes != tuple(prompts):
            raise ValueError(
                f"The shots have the classes {', '.join(shots.classes)}, the prompts {', '.join(prompts)}: "
                "both need the same, in the same order."
            )
        if (shots.per_class() == 0).any():
            raise ValueError(
                f"There is no real image of the class {shots.classes[int(shots.per_class().argmin())]}: real "
                "guidance starts from real images of every class."
            )
    rows = []
    for turn in range(per_class):
        for label, own in enumerate(prompts.values()):
            members = np.flatnonzero(shots.labels == label) if shots is not None else None
            shot = int(members[turn % len(members)]) if members is not None else None
            rows.append(Wanted(label, own[turn % len(own)], shot))
    return rows


def make(
    folder,
    checkpoint,
    wanted: Sequence[Wanted],
    classes: Sequence[str],
    *,
    name: str,
    shots: Tiles | None = None,
    strength: float | None = None,
    seed: int = 0,
    shard: int = 100,
    **settings,
) -> Path:
    """Generate the plan's images that are not there yet.

    Args:
        folder: Of the Parquet shards; :func:`rs_course.datasets.load` reads it.
        checkpoint: From :func:`rs_course.checkpoints.load`.
        wanted: From :func:`plan`.
        classes: Class names, in label order.
        name: Of the checkpoint, for the record.
        shots: The real images that the plan's rows refer to.
        strength: Share of the steps run on a shot; by default He et al.'s for this number of shots.
        seed: Of the noise.
        shard: Images per file.
        **settings: For ``checkpoint.sample``: ``steps``, ``guidance``, ``batch_size``, …

    Returns:
        The folder.

    Raises:
        ValueError: A plan with shots without ``shots``.
    """
    from rs_course.datasets import write_shard

    folder = Path(folder)
    guided = any(row.shot is not None for row in wanted)
    if guided and shots is None:
        raise ValueError("The plan starts from real images: pass them as shots=.")
    if guided and strength is None:
        strength = guidance_strength(math.ceil(len(shots) / len(shots.classes)))
    settings = settings | ({"strength": strength} if guided else {})
    recorded = {key: value for key, value in settings.items() if key not in ("batch_size", "progress")}
    digest = checkpoint.card.hash if checkpoint.card else ""
    for number, start in enumerate(range(0, len(wanted), shard)):
        file, rows = folder / f"part-{number:05d}.parquet", wanted[start : start + shard]
        if file.exists():
            continue
        picture = {"image": to_float(as_tensor(shots.images[[row.shot for row in rows]]))} if guided else {}
        images = checkpoint.sample(
            [row.prompt for row in rows], seed=seed, start=start, **picture, **settings
        )
        records = [
            {
                "index": start + i,
                "image": image,
                "prompt": row.prompt,
                "label": classes[row.label],
                "metadata": None,
                "seed": seed,
                "checkpoint": name,
                "checkpoint_sha256": digest,
                "settings": recorded | ({"shot": row.shot} if guided else {}),
            }
            for i, (row, image) in enumerate(zip(rows, pixels(images), strict=True))
        ]
        write_shard(file, records, classes=classes)
    return folder
