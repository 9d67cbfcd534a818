"""How the official archives describe themselves: split lists, caption files, names that carry the class."""

from __future__ import annotations

import json
import re
from pathlib import Path

from rs_course.datasets import index, tables
from rs_course.datasets.containers import open_container
from rs_course.datasets.store import DecodedStore


def open_store(entry, files: list[Path], image_size) -> DecodedStore:
    """Pixels and index of a fetched data set.

    Args:
        entry: Its registry entry.
        files: What :func:`rs_course.registry.require` returned: the images first, then what describes them.
        image_size: ``(height, width)`` to resize to, or ``None`` for the entry's own choice.
    """
    image_size = image_size or entry.image_size
    if files[0].suffix == ".parquet":
        container = tables.ParquetImages(files)
        return DecodedStore(container, lambda: rsicd_index(container), image_size=image_size)
    container = open_container(files[0])
    described = [file for file in files[1:] if file.suffix in (".txt", ".json")]

    def build():
        captions = [file for file in described if file.suffix == ".json"]
        return index.build(
            container,
            described=ucm_captions(container, captions[0]) if captions else None,
            split_lists={
                file.stem.rsplit("-", 1)[-1]: set(file.read_text(encoding="utf-8").split())
                for file in described
                if file.suffix == ".txt"
            },
        )

    variant = " ".join(f"{file.name}:{file.stat().st_size}" for file in described)
    return DecodedStore(container, build, image_size=image_size, variant=variant)


def ucm_captions(container, file: Path) -> dict[str, dict]:
    """Captions and split of each UC Merced image.

    UCM-captions numbers the images 1.tif to 2100.tif: class by class in alphabetical order, a hundred each,
    so ``agricultural00.tif`` is 1 and ``airplane00.tif`` is 101.

    Returns:
        ``{path in the container: {"captions", "split", "ucm_id"}}``.
    """
    described = json.loads(file.read_text(encoding="utf-8"))["images"]
    by_number = {int(Path(image["filename"]).stem): image for image in described}
    images = [name for name in container.names if name.lower().endswith(".tif")]
    classes = sorted({Path(name).parent.name for name in images})
    result = {}
    for name in images:
        within = int(re.search(r"(\d+)$", Path(name).stem).group(1))
        number = 100 * classes.index(Path(name).parent.name) + within + 1
        image = by_number[number]
        result[name] = {
            "captions": [sentence["raw"] for sentence in image["sentences"]],
            "split": image["split"],
            "ucm_id": number,
        }
    return result


def rsicd_index(container: tables.ParquetImages) -> dict:
    """Index of RSICD's Parquet files; the class is the name before the number in a file name such as
    ``rsicd_images/airport_12.jpg``, and files without one are unlabelled."""
    splits = {"train": "train", "valid": "val", "test": "test"}
    rows = []
    for name, row in container.columns("filename", "captions"):
        stem = Path(row["filename"]).stem.rstrip("0123456789").rstrip("_")
        rows.append(
            {
                "file": name,
                "id": row["filename"],
                "label": stem.lower() or None,
                "split": splits[name.split("-")[0]],
                "captions": [caption.strip() for caption in row["captions"]],
                "metadata": None,
            }
        )
    classes = sorted({row["label"] for row in rows if row["label"]})
    for row in rows:
        row["label"] = classes.index(row["label"]) if row["label"] else -1
    rows.sort(key=lambda row: (("train", "val", "test").index(row["split"]), row["id"]))
    return {"classes": classes, "rows": rows}
