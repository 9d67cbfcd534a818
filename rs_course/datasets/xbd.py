"""xBD from a local copy, in the layout of the simulated disasters: before, after, changed, parted by event.

xBD (Gupta et al. 2019, arXiv 1911.09296) is not fetched by the course: it needs a registration at
https://xview2.org. What is read of it: ``<event>_<number>_pre_disaster.png`` and ``…_post_disaster.png``
anywhere below a folder, and beside them (in ``labels``) the JSON of the later image, whose buildings with
damage make the mask. Each pair is cut into square tiles, and a tile without a damaged building is left out.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np

from rs_course.datasets.decoding import decode
from rs_course.datasets.disasters import save_images, write_tables

_PRE, _POST = "_pre_disaster", "_post_disaster"
# Words in an event's name or in its ``disaster_type``, and the course's class.
_WORDS = {
    "earthquake": "earthquake", "flood": "flood", "tsunami": "tsunami", "volcan": "volcano",
    "fire": "wildfire", "hurricane": "storm", "tornado": "storm", "wind": "storm", "storm": "storm",
}  # fmt: skip


def kind_of(event: str, disaster_type: str = "") -> str:
    """Class of an event, from its type or its name.

    Raises:
        ValueError: Neither says.
    """
    for text in (disaster_type.lower(), event.lower()):
        for word, kind in _WORDS.items():
            if word in text:
                return kind
    raise ValueError(
        f"the event {event!r} (type {disaster_type!r}) is none of {', '.join(sorted(set(_WORDS.values())))}."
    )


def pairs(source: str | Path) -> list[tuple[str, Path, Path, Path]]:
    """(event, image before, image after, labels of the image after) of every complete pair.

    Raises:
        FileNotFoundError: No such folder, or no pair in it.
    """
    source = Path(source).expanduser()
    found = []
    for before in sorted(source.rglob(f"*{_PRE}.png")):
        after = before.with_name(before.name.replace(_PRE, _POST))
        labels = after.parent.parent / "labels" / after.with_suffix(".json").name
        if after.is_file() and labels.is_file():
            found.append((before.name.removesuffix(f"{_PRE}.png").rsplit("_", 1)[0], before, after, labels))
    if not found:
        raise FileNotFoundError(
            f"{source} holds no pair images/<event>_<number>_pre_disaster.png with its post-event image and "
            "labels/*.json: register at https://xview2.org and unpack xBD there."
        )
    return found


def write(
    folder: str | Path,
    *,
    source: str | Path,
    per_kind: int = 100,
    test_per_kind: int = 50,
    side: int = 256,
    size: int = 64,
    seed: int = 0,
) -> Path:
    """Write ``before/``, ``after/`` and ``changed/`` as :func:`rs_course.datasets.disasters.write` does.

    Args:
        folder: Where to write.
        source: A local copy of xBD.
        per_kind, test_per_kind: Tiles per class at most.
        side: Pixels of a tile in the original; ``size`` of the written one.
        seed: Which events are kept for the test: of a kind with one event, none can be, and its tiles are
            parted by image, which the table says (column ``parted_by``).

    Returns:
        The folder.
    """
    folder = Path(folder)
    events: dict[str, dict[str, list]] = {}
    for event, before, after, labels in pairs(source):
        content = json.loads(labels.read_text(encoding="utf-8"))
        kind = kind_of(event, content.get("metadata", {}).get("disaster_type", ""))
        events.setdefault(kind, {}).setdefault(event, []).append((before, after, content))
    rows, rng = [], np.random.default_rng(seed)
    for kind, own in sorted(events.items()):
        names = list(rng.permutation(sorted(own)))
        kept = set(names[: max(1, len(names) // 3)]) if len(names) > 1 else set()
        counts = {"train": 0, "test": 0}
        for event in names:
            for number, (before, after, content) in enumerate(own[event]):
                part = "test" if event in kept or (not kept and number % 3 == 0) else "train"
                for tile in _tiles(before, after, content, side, size):
                    if counts[part] >= (per_kind if part == "train" else test_per_kind):
                        break
                    name = f"{kind}/{part}-{counts[part]:05d}.png"
                    counts[part] += 1
                    save_images(folder, name, tile)
                    how = "event" if kept else "image"
                    rows.append({"file": name, "split": part, "event": event, "parted_by": how})
    write_tables(folder, rows)
    return folder


def _tiles(before, after, content, side, size):
    """Yield (before, after, changed) of the tiles that hold a damaged building."""
    from PIL import Image, ImageDraw

    images = [Image.fromarray(decode(path.read_bytes(), path.name)) for path in (before, after)]
    mask = Image.new("L", images[0].size)
    for feature in content.get("features", {}).get("xy", []):
        if feature.get("properties", {}).get("subtype", "") in ("minor-damage", "major-damage", "destroyed"):
            ring = re.search(r"\(\(([^)]*)\)", feature["wkt"]).group(1).split(",")
            ImageDraw.Draw(mask).polygon([tuple(map(float, point.split())) for point in ring], fill=255)
    kinds = (Image.Resampling.BICUBIC, Image.Resampling.BICUBIC, Image.Resampling.NEAREST)
    layers = list(zip((*images, mask), kinds, strict=True))
    for top in range(0, mask.height - side + 1, side):
        for left in range(0, mask.width - side + 1, side):
            box = (left, top, left + side, top + side)
            if np.asarray(mask.crop(box)).any():
                yield [layer.crop(box).resize((size, size), kind) for layer, kind in layers]
