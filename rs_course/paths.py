"""Where things lie: the data that ships with the course, and the cache for what is downloaded."""

import os
from pathlib import Path, PurePosixPath

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


def checkout_dir() -> Path:
    """Root of the checkout that this package lies in.

    Raises:
        FileNotFoundError: The package was installed from a wheel, which has no sources of the book.
    """
    root = _PACKAGE.parent
    if not (root / "pyproject.toml").is_file():
        raise FileNotFoundError("this needs a checkout of the course; an installed package has no sources.")
    return root


def course_files() -> dict[str, Path]:
    """Notebooks and student versions of the assignments, by the path that they have in a checkout."""
    installed = _PACKAGE / "_course"
    root = installed if installed.is_dir() else _PACKAGE.parent
    found = [*root.glob("notebooks/[0-9]*.ipynb"), *root.glob("assignments/release/*/*")]
    return {path.relative_to(root).as_posix(): path for path in sorted(found) if path.is_file()}


def writable(folder: Path) -> Path:
    """The folder, made if it is not there.

    Raises:
        OSError: Nothing can be written there; one sentence.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(13, "no permission")
    except OSError as error:
        raise OSError(f"{folder} cannot be written ({error.strerror}); choose another folder.") from None
    return folder


def notebooks_dir() -> Path:
    """Folder of the course notebooks: the checkout's, or ``./notebooks`` when the package is installed."""
    checkout = _PACKAGE.parent / "notebooks"
    return checkout if checkout.is_dir() else Path("notebooks")


def relative(name: object) -> str:
    """A path as a file of somebody else states it (archive, receipt, index), fit to be joined to a folder.

    Raises:
        ValueError: It is no text, is absolute, or climbs out of the folder with ``..``.
    """
    if not isinstance(name, str) or "\0" in name:
        raise ValueError(f"unsafe path {name!r}")
    path = PurePosixPath(name.replace("\\", "/"))
    # A colon in the first part is a drive to Windows.
    if path.is_absolute() or ".." in path.parts or ":" in "".join(path.parts[:1]):
        raise ValueError(f"unsafe path {name!r}")
    return str(path)
