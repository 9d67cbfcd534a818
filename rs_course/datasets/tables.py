"""Image collections in Parquet, above all generated sets, whose schema is defined here.

A *generated set* is a folder of Parquet shards ``part-00000.parquet``, ``part-00001.parquet``, …; one row per
image, in any order. Its file metadata may carry the class names under ``rs_course.classes`` (a JSON list), so
that labels keep their numbers when a set holds only some of the classes.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rs_course.files import atomic_write

if TYPE_CHECKING:
    import pyarrow as pa


# Columns of a generated set: name -> (Arrow type, nullable, meaning). The sampling engine writes these.
GENERATED_SCHEMA = {
    "index": ("int64", False, "number i of the image: with the seed it determines the noise"),
    "image": ("binary", False, "PNG bytes, RGB, 8 bits"),
    "prompt": ("string", False, "the text the image was generated from"),
    "label": ("string", True, "class name that was asked for, or null"),
    "metadata": ("string", True, "JSON of the conditioning metadata in physical units, or null"),
    "seed": ("int64", False, "seed of the run: image i is a function of (seed, i) alone"),
    "checkpoint": ("string", False, "registry name of the checkpoint, or the folder's name"),
    "checkpoint_sha256": ("string", False, "hash of the checkpoint's weights"),
    "settings": ("string", False, "JSON of what else shaped the image: sampler, steps, guidance, size, …"),
}
_CLASSES_KEY = b"rs_course.classes"


def generated_schema(classes: Sequence[str] | None = None) -> pa.Schema:
    """:data:`GENERATED_SCHEMA` as a ``pyarrow.Schema``, with the class names in its metadata where given."""
    import pyarrow as pa

    fields = [
        pa.field(name, pa.type_for_alias(kind), nullable=nullable)
        for name, (kind, nullable, _) in GENERATED_SCHEMA.items()
    ]
    return pa.schema(fields, metadata={_CLASSES_KEY: json.dumps(list(classes)).encode()} if classes else None)


def write_shard(path: str | Path, rows: list[dict], *, classes: Sequence[str] | None = None) -> None:
    """Write one shard of a generated set; it appears under its name only when it is complete.

    Args:
        path: ``folder/part-00000.parquet``.
        rows: One dict per image with the keys of :data:`GENERATED_SCHEMA`; ``image`` may be PNG bytes or
            uint8 ``[H, W, 3]``, ``metadata`` and ``settings`` may be dicts.
        classes: All class names of the task, in label order.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    encoded = []
    for row in rows:
        row = {**row, "image": row["image"] if isinstance(row["image"], bytes) else png(row["image"])}
        for key in ("metadata", "settings"):
            if isinstance(row.get(key), dict):
                row[key] = json.dumps(row[key])
        encoded.append(row)
    # PNG bytes do not shrink further; small row groups let one image be read without the whole shard.
    with atomic_write(path) as partial:
        pq.write_table(
            pa.Table.from_pylist(encoded, schema=generated_schema(classes)),
            partial,
            compression={name: "none" if name == "image" else "zstd" for name in GENERATED_SCHEMA},
            row_group_size=64,
        )


def png(pixels: np.ndarray) -> bytes:
    """Pixels uint8 ``[H, W, 3]`` as a PNG file."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="PNG")
    return buffer.getvalue()


class ParquetImages:
    """Container over the image column of Parquet files; names are ``file#row``."""

    def __init__(self, files):
        import pyarrow.parquet as pq

        self.files = [Path(file) for file in files]
        self.path = self.files[0].parent
        self._starts = {}
        self._group = (None, [])  # the row group that was read last; rows are mostly read in order
        try:
            for file in self.files:
                meta = pq.read_metadata(file)
                counts = [meta.row_group(group).num_rows for group in range(meta.num_row_groups)]
                self._starts[file.name] = np.concatenate([[0], np.cumsum(counts)]).astype(int).tolist()
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{file} is not a complete Parquet file ({str(error).splitlines()[0]}): write it again."
            ) from error

    def identity(self) -> str:
        """Hash of all names, sizes and modification times."""
        digest = hashlib.sha256()
        for file in self.files:
            status = file.stat()
            digest.update(f"{file.name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def position(self, name: str) -> tuple[str, int]:
        file, row = name.rsplit("#", 1)
        return file, int(row)

    def read(self, name: str) -> bytes:
        import pyarrow.parquet as pq

        file, row = self.position(name)
        starts = self._starts[file]
        group = int(np.searchsorted(starts, row, side="right")) - 1
        if self._group[0] != (file, group):
            table = pq.ParquetFile(self.path / file).read_row_group(group, columns=["image"])
            self._group = ((file, group), table["image"].to_pylist())
        value = self._group[1][row - starts[group]]
        return value["bytes"] if isinstance(value, dict) else value

    def columns(self, *names: str) -> Iterator[tuple[str, dict]]:
        """Yield ``(name of the image, {column: value})`` for every row, without reading the images."""
        import pyarrow.parquet as pq

        for file in self.files:
            try:
                rows = pq.read_table(file, columns=list(names)).to_pylist()
            except (KeyError, ValueError, OSError) as error:
                has = pq.read_schema(file).names
                lacking = ", ".join(name for name in names if name not in has) or str(error).split("\n")[0]
                raise ValueError(
                    f"{file} lacks {lacking}; it has {', '.join(has)}. Images in Parquet are read as "
                    "'rs-course generate' writes them: save others as image files with a metadata.csv."
                ) from error
            for number, row in enumerate(rows):
                yield f"{file.name}#{number}", row


def generated_index(container: ParquetImages) -> dict:
    """Index of a generated set, as :func:`rs_course.datasets.index.build` makes it; all of it is "train"."""
    import pyarrow.parquet as pq

    rows: list[dict] = []
    classes: list[str] = []
    for file in container.files:
        stored = (pq.read_schema(file).metadata or {}).get(_CLASSES_KEY)
        classes = classes or (json.loads(stored) if stored else [])
    for name, row in container.columns(*[column for column in GENERATED_SCHEMA if column != "image"]):
        rows.append(
            {
                "file": name,
                "id": f"{row['seed']}/{row['index']:06d}",
                "label": row["label"],
                "split": "train",
                "captions": [row["prompt"]],
                "metadata": json.loads(row["metadata"]) if row["metadata"] else None,
                "provenance": f"generated · {row['checkpoint']} · seed {row['seed']}",
                "order": [row["seed"], row["index"]],
            }
        )
    classes = classes or sorted({row["label"] for row in rows if row["label"] is not None})
    unknown = {row["label"] for row in rows} - {None, *classes}
    if unknown:
        raise ValueError(
            f"{container.path}: the label {unknown.pop()!r} is not among the set's classes {classes}."
        )
    for row in rows:
        row["label"] = classes.index(row["label"]) if row["label"] is not None else -1
    rows.sort(key=lambda row: row.pop("order"))
    return {"classes": classes, "rows": rows}
