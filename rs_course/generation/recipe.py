"""What a folder of generated images is made of: one recipe, and the (seed, i) that are there already."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rs_course.datasets import write_shard
from rs_course.files import write_json

from .prompts import SampleSpec

# Hidden, because readers of Parquet folders take every visible file for a shard.
_RECORD, _LOCK = ".run.json", ".lock"


@dataclass(frozen=True)
class Shard:
    """Images ``first .. first + count - 1`` of one seed."""

    seed: int
    first: int
    count: int


@dataclass(frozen=True)
class Recipe:
    """What every image of a folder has in common; ``describe`` in ``work.py`` completes it.

    Attributes:
        checkpoint: Registry name, or name of the checkpoint's folder.
        checkpoint_sha256: Hash of its weights.
        settings: Everything else that shapes an image, with the checkpoint's defaults filled in.
        prompts_sha256: Hash of the list of prompts, labels and metadata.
        shard_size: Images per file.
    """

    checkpoint: str
    checkpoint_sha256: str
    settings: dict
    prompts_sha256: str
    shard_size: int


def prompts_hash(prompts: list[SampleSpec]) -> str:
    """SHA-256 of a list of prompts, with labels, metadata and pictures."""
    optional = ("image", "mask")
    rows = json.dumps(
        [{k: v for k, v in asdict(p).items() if k not in optional or v is not None} for p in prompts],
        sort_keys=True,
        default=lambda pixels: hashlib.sha256(pixels.tobytes()).hexdigest(),
    )
    return hashlib.sha256(rows.encode()).hexdigest()


class Folder:
    """A folder that belongs to one recipe; use it as a context manager, which locks it.

    An image's place is fixed: image i of a seed lies in shard ``i // shard_size``. A shard appears under its
    name only when it is complete, so whatever kills a run, the next one finds every shard whole or absent.
    """

    def __init__(self, path: str | Path):
        from filelock import FileLock

        self.path = Path(path)
        if self.path.exists() and not self.path.is_dir():
            raise FileExistsError(f"{self.path} is a file; --out names a folder.")
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self.path / _LOCK, timeout=0)

    def __enter__(self) -> Folder:
        from filelock import Timeout

        try:
            self._lock.acquire()
        except Timeout:
            raise RuntimeError(
                f"Another run is writing to {self.path}: wait for it, or choose another folder."
            ) from None
        for left_over in self.path.glob(".*.parquet.*"):  # of a killed run
            left_over.unlink()
        return self

    def __exit__(self, *error) -> None:
        self._lock.release()

    def claim(self, recipe: Recipe) -> None:
        """Make the folder this recipe's, or see that it is; what follows refers to it.

        Raises:
            ValueError: It holds images of another recipe, or Parquet files of unknown origin.
        """
        self.recipe = recipe
        record = self.path / _RECORD
        if record.is_file():
            if differing := _difference(json.loads(record.read_text(encoding="utf-8")), asdict(recipe)):
                raise ValueError(f"{self.path} holds another run ({differing}): choose another folder.")
            return
        if any(self.path.glob("*.parquet")):
            raise ValueError(
                f"{self.path} holds Parquet files that no run of generate wrote: choose another folder."
            )
        write_json(record, asdict(recipe))

    def missing(self, shards: list[Shard]) -> list[Shard]:
        """Those that are not there, or with fewer images than asked for now."""
        return [shard for shard in shards if self._images_in(shard) < shard.count]

    def write(
        self, shard: Shard, rows: list[SampleSpec], pictures: list[bytes], classes: Sequence[str] | None
    ) -> None:
        """Store a shard's PNG pictures with what they were made from."""
        common = {
            "seed": shard.seed,
            "checkpoint": self.recipe.checkpoint,
            "checkpoint_sha256": self.recipe.checkpoint_sha256,
            "settings": self.recipe.settings,
        }
        table = [
            {"index": i, "image": picture, "prompt": row.text, "label": row.label, "metadata": row.metadata}
            | common
            for i, (row, picture) in enumerate(zip(rows, pictures, strict=True), shard.first)
        ]
        write_shard(self._file(shard), table, classes=classes)

    def _file(self, shard: Shard) -> Path:
        return self.path / f"seed-{shard.seed}-part-{shard.first // self.recipe.shard_size:05d}.parquet"

    def _images_in(self, shard: Shard) -> int:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return pq.read_metadata(self._file(shard)).num_rows
        except (FileNotFoundError, pa.ArrowInvalid):  # absent, or damaged after it was written
            return 0


def _difference(there: dict, asked: dict) -> str:
    """First difference of two recipes in words; empty where there is none."""
    there, asked = ({**recipe, **recipe["settings"]} for recipe in (there, asked))
    for key in asked:
        if key == "settings" or there.get(key) == json.loads(json.dumps(asked[key])):
            continue
        if key == "checkpoint_sha256":
            return f"of {there['checkpoint']} with other weights"
        if key == "prompts_sha256":
            return "with other prompts"
        return f"with {key} {there.get(key)!r} instead of {asked[key]!r}"
    return ""
