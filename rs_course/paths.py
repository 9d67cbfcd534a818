"""Where things lie: the data that ships with the course, and the cache for what is downloaded."""

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def data_dir() -> Path:
    """Folder of the shipped data: ``data/`` of a checkout, or its copy inside an installed wheel."""
    installed = _PACKAGE / "_data"
    return installed if installed.is_dir() else _PACKAGE.parent / "data"


def cache_dir() -> Path:
    """Folder for downloads and decoded data sets; set ``RS_COURSE_CACHE`` to move it (it is not created)."""
    if chosen := os.environ.get("RS_COURSE_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("LOCALAPPDATA") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "rs_course"


def notebooks_dir() -> Path:
    """Folder of the course notebooks: the checkout's, or ``./notebooks`` when the package is installed."""
    checkout = _PACKAGE.parent / "notebooks"
    return checkout if checkout.is_dir() else Path("notebooks")
