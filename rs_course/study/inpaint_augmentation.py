"""Images after a disaster, painted by a generator into images before it.

This is image editing as augmentation, the course's own protocol: pre-event image + text → post-event image.
The mask of what the event would change is known in the simulation; on xBD it is the damaged buildings.

The course's minis have never seen a disaster. They are asked for the nearest thing they know (water for a
flood), so what they deliver tests the protocol, and not what a generator that knows disasters could do.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np


def prompts(checkpoint: str, kinds: Sequence[str]) -> list[str]:
    """What to ask a generator for, one sentence per kind of disaster."""
    from rs_course.datasets import class_prompt, disasters

    if Path(checkpoint).name.startswith("mini-"):
        return [class_prompt(disasters.NEAREST[kind], "eurosat") for kind in kinds]
    return [disasters.PROMPTS[kind] for kind in kinds]


def make(
    folder: str | Path,
    pairs: str | Path,
    *,
    checkpoint: str,
    per_class: int,
    seed: int = 0,
    dtype: str | None = None,
    shard: int = 10,
    **settings,
) -> Path:
    """Edit the training images before the event.

    Args:
        folder: Of the Parquet shards; finished ones are kept.
        pairs: Folder with ``before`` and ``changed``, as ``disasters.write`` makes it.
        checkpoint: Name or folder of a generator. With mask input it inpaints; without, the old pixels are
            put back outside the mask after every step, and ``strength`` below 1 is SDEdit inside it.
        per_class: Edited images of each class; the training images are used in turn.
        seed: Of the noise.
        dtype: Of the weights, as for ``checkpoints.load``.
        shard: Images of every class in one file, which are also sampled together.
        **settings: For ``checkpoint.sample``.

    Returns:
        The folder.
    """
    import torch

    from rs_course import checkpoints, datasets

    folder, pairs = Path(folder), Path(pairs)
    before, changed = (
        datasets.load(pairs / part, "train", origin="simulated") for part in ("before", "changed")
    )
    generator, kinds = checkpoints.load(checkpoint, dtype=dtype), len(before.classes)
    asked = prompts(checkpoint, before.classes)
    members = [np.flatnonzero(before.labels == k) for k in range(kinds)]
    events = [(known or {})["event"] for known in before.metadata]
    made = {
        "seed": seed,
        "checkpoint": Path(checkpoint).name,
        "checkpoint_sha256": generator.card.hash if generator.card else "",
        "settings": settings,
    }
    for number, first in enumerate(range(0, per_class, shard)):
        file = folder / f"part-{number:05d}.parquet"
        if file.exists():
            continue
        turns = range(first, min(first + shard, per_class))
        rows = [int(own[turn % len(own)]) for turn in turns for own in members]
        picture = torch.from_numpy(np.array(before.images[rows])).permute(0, 3, 1, 2) / 255
        mask = torch.from_numpy(np.array(changed.images[rows])[..., 0] > 127)[:, None].float()
        words, start = asked * len(turns), first * kinds
        images = generator.sample(words, image=picture, mask=mask, seed=seed, start=start, **settings)
        struck = [events[row] for row in rows]
        _write(file, images, words, start, struck, before.classes, made)
    return folder


def _write(file, images, asked, start, struck, classes, made):
    from rs_course.checkpoints.images import pixels
    from rs_course.datasets import write_shard

    rows = [
        {
            "index": start + i,
            "image": image,
            "prompt": asked[i],
            "label": classes[i % len(classes)],
            "metadata": {"event": struck[i]},
        }
        for i, image in enumerate(pixels(images))
    ]
    write_shard(file, [row | made for row in rows], classes=classes)
