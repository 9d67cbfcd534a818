"""What a notebook's results depend on, as one hash: done work is skipped exactly while it stays the same."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

from rs_course.paths import data_dir


def of(notebook, parameters: dict) -> str:
    """Hash of a notebook's sources, its parameters, the package, the shipped data and the installed versions.

    Stored outputs and metadata do not count, so that opening and saving a notebook repeats nothing.
    """
    sources = [(cell.cell_type, cell.source, cell.metadata.get("tags", [])) for cell in notebook.cells]
    content = json.dumps([sources, parameters, _surroundings()], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


@cache
def _surroundings() -> list:
    package = Path(__file__).resolve().parents[1]
    versions = sorted(f"{d.metadata['Name']}=={d.version}" for d in distributions())
    return [_tree(package, ".py"), _tree(data_dir(), ""), versions]


def _tree(folder: Path, suffix: str) -> list:
    """Relative path and digest of each file; hidden and compiled files do not count."""
    found = []
    for path in sorted(folder.rglob(f"*{suffix}")):
        relative = path.relative_to(folder)
        if path.is_file() and not any(part.startswith((".", "__pycache__")) for part in relative.parts):
            with path.open("rb") as stream:
                found.append((relative.as_posix(), hashlib.file_digest(stream, "sha256").hexdigest()))
    return found
