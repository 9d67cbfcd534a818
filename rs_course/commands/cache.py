"""``rs-course cache``: what the course keeps outside its own folders, and how to get the space back.

    rs-course cache                        what lies there, and how much it takes
    rs-course cache clean                  remove what the course makes again by itself
    rs-course cache clean fetched          remove the downloads: they have to be fetched again
    rs-course cache clean fetched/eurosat  one of them

Nothing else is ever removed, so that ``RS_COURSE_CACHE`` may name a folder that holds other things.
"""

from __future__ import annotations

import shutil

from rs_course.paths import cache_dir, relative

# name: (what it is, made again without a download)
KINDS = {
    "simulated": ("rendered tiles of the simulated data sets", True),
    "decoded": ("data sets unpacked for quick reading", True),
    "training": ("scenes rendered to train the minis", True),
    "embeddings.sqlite": ("embeddings of images and texts", True),
    "fetched": ("data sets and checkpoints, downloaded or imported", False),
    "superres": ("super-resolution networks that were put there by hand", False),
}


def add_arguments(parser):
    parser.add_argument("action", nargs="?", choices=["list", "clean"], default="list", help="default: list")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"what to clean: {', '.join(KINDS)}, or a folder in one"
    )


def run(args):
    root = cache_dir()
    if args.action == "list":
        if args.names:
            raise ValueError("the list is of everything; only `rs-course cache clean` takes names.")
        for name, (what, again) in KINDS.items():
            inside = [*root.glob(f"{name}/*")] if not again else []
            print(f"{_size(root, name):>10}  {name:20}{what}")
            for path in sorted(inside):
                inner = f"{name}/{path.name}"
                print(f"{_size(root, inner):>10}    {inner}")
        print(f"in {root} (RS_COURSE_CACHE moves it); `rs-course cache clean` removes what is made again")
        return
    for name in args.names:  # all of them before anything is removed
        if relative(name).partition("/")[0] not in KINDS:
            raise ValueError(
                f"{name!r} is no part of the cache; give {', '.join(KINDS)}, or a folder in one."
            )
        if name not in KINDS and not _paths(root, name):
            raise ValueError(f"there is no {name} in the cache; `rs-course cache` lists what is.")
    for name in args.names or [name for name, (_, again) in KINDS.items() if again]:
        size = _size(root, name)
        for path in _paths(root, name):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        print(f"{size:>10}  {name} removed")


def _paths(root, name):
    """The folder or file of this name; a data base has two more files while it is open."""
    wanted = (root / f"{name}{ending}" for ending in ("", "-wal", "-shm"))
    return [path for path in wanted if path.exists() or path.is_symlink()]


def _size(root, name) -> str:
    files = [file for path in _paths(root, name) for file in ([path] if path.is_file() else path.rglob("*"))]
    return f"{sum(file.stat().st_size for file in files if file.is_file()) / 1e6:,.1f} MB"
