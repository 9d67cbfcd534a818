"""What a study leaves on disk.

    DIR/study.json          title, function, inputs and their hashes, the ids of all tasks in order
    DIR/records/ID.json     one finished task: its settings and its results
    DIR/failures/ID.json    one task that stopped with an error; it is tried again by the next run
    DIR/ledger.parquet      all finished tasks of the plan, one row each, in the plan's order

Each file appears under its name only when it is complete, so whatever is there can be trusted.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rs_course import files

if TYPE_CHECKING:
    import pandas as pd

LEDGER = "ledger.parquet"
_BYTES = "bytes in base64"


def write(path: Path, content: dict) -> None:
    """Write a record, or what describes the study; bytes and NumPy's numbers too."""
    files.write_json(path, content, indent=None, default=_plain)


def finished(folder: Path) -> set[str]:
    """Ids of the tasks that have a record."""
    return {path.stem for path in (folder / "records").glob("[!.]*.json")}


def failures(folder: Path, ids: Iterable[str]) -> dict[str, str]:
    """``{id: error}`` of those tasks that failed in the last run and have no record since."""
    ids = set(ids) - finished(folder)
    found = {path.stem: path for path in (folder / "failures").glob("[!.]*.json")}
    return {
        name: json.loads(found[name].read_text(encoding="utf-8"))["error"]
        for name in sorted(ids & found.keys())
    }


def rows(folder: Path, ids: Iterable[str]) -> list[dict]:
    """The records of those of these tasks that are finished, in this order."""
    paths = [folder / "records" / f"{name}.json" for name in ids]
    return [
        json.loads(path.read_text(encoding="utf-8"), object_hook=_restore) for path in paths if path.is_file()
    ]


def merge(folder: Path, ids: Iterable[str]) -> Path | None:
    """Join the records of some tasks into the ledger, in this order.

    Returns:
        The ledger's path, or ``None`` while no task has finished.
    """
    import pandas as pd

    if not (found := rows(folder, ids)):
        return None
    path = folder / LEDGER
    with files.atomic_write(path) as partial:
        pd.DataFrame(found).to_parquet(partial, index=False, compression="zstd")
    return path


def ledger(path: str | Path) -> pd.DataFrame:
    """Read a ledger.

    Args:
        path: The Parquet file, or the folder of a study.

    Returns:
        pandas ``DataFrame``, one row per finished task.

    Raises:
        FileNotFoundError: There is none yet.
    """
    import pandas as pd

    path = Path(path).expanduser()
    path = path / LEDGER if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no ledger at {path}: run `rs-course study CONFIG --out DIR` first."
        )
    return pd.read_parquet(path)


def shipped(name: str | Path) -> Path | None:
    """Folder of a study that ships with the course (``data/results/NAME``), or ``None``."""
    from rs_course.paths import data_dir

    path = data_dir() / "results" / str(name)
    return path if (path / "study.json").is_file() else None


def stored(name: str) -> pd.DataFrame | None:
    """The ledger of a study that ships with the course, or ``None``."""
    return ledger(folder) if (folder := shipped(name)) else None


def _plain(value):
    """JSON of numpy's and torch's numbers and arrays, and of bytes."""
    if isinstance(value, bytes):
        return {_BYTES: base64.b64encode(value).decode()}
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(
        f"a task returned a {type(value).__name__}; results are numbers, texts and lists of them."
    )


def _restore(value: dict):
    return base64.b64decode(value[_BYTES]) if set(value) == {_BYTES} else value
