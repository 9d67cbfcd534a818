"""What lies in the cache: fetch it, list it, clean it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from rs_course import fetching, paths, registry
from rs_course.paths import cache_dir, relative

_HEADINGS = {
    "dataset": "Data sets",
    "checkpoint": "Image generators",
    "scorer": "Image-text scorers",
    "super-resolution": "Super-resolution",
}


def fetch_arguments(parser):
    parser.add_argument("names", nargs="*", metavar="NAME", help="what to fetch, e.g. eurosat")
    parser.add_argument("--list", action="store_true", help="show what can be fetched and what is here")
    parser.add_argument(
        "--from", dest="source", type=Path, metavar="FILE", help="use this file or folder, no download"
    )
    parser.add_argument("--mirror", metavar="URL", help="base address with NAME/FILE below it")


def fetch(args):
    """``rs-course fetch``: download or import a data set or checkpoint, or list what there is.

        rs-course fetch --list                       what can be fetched, what is here
        rs-course fetch eurosat                      download, verify; continues after an interruption
        rs-course fetch crsdiff --from last.ckpt     a file that was brought by hand
        rs-course fetch rsicd --mirror http://host/  from a mirror (or set RS_COURSE_MIRROR)

    What is published, and what is known of it, stands in ``data/registry.json``.
    """
    if args.list:
        print(table())
        return
    if not args.names:
        raise ValueError(
            "name what to fetch, e.g. rs-course fetch eurosat; rs-course fetch --list shows all."
        )
    if args.source and len(args.names) > 1:
        raise ValueError("--from brings files of one thing: name only that one.")
    for name in args.names:
        fetching.fetch(name, mirror=args.mirror, source=args.source)
        entry = registry.get(name)
        print(f"Licence: {entry.licence}. Please cite: {entry.citation}.")


def table() -> str:
    """What can be fetched: two lines each, with size of the download, memory of the weights and licence."""
    row = "{:<28}{:<9}{:>8}  {:>8}  {}"
    lines = [row.format("NAME", "HERE", "SIZE", "MEMORY", "LICENCE")]
    for kind, heading in _HEADINGS.items():
        lines += ["", heading]
        for name in registry.names(kind):
            entry = registry.get(name)
            memory = registry.readable(entry.memory) if entry.memory else ""
            licence = re.split(r"[;(]", entry.licence)[0].strip()
            lines.append(row.format(name, _state(entry), registry.readable(entry.size), memory, licence))
            by_hand = " (in a browser, then --from)" if entry.manual_download else ""
            lines.append(f"    {entry.what}{by_hand}")
    lines += [
        "",
        "SIZE: of the download, ? where none is published. MEMORY: of the weights in 16 bits.",
        "Fetch one with: rs-course fetch NAME. The full licence and the citation are told then.",
        f"Folder: {paths.cache_dir() / 'fetched'}",
    ]
    return "\n".join(lines)


def _state(entry) -> str:
    try:
        return "subset" if entry.fallback() else "yes" if entry.local_files() else "no"
    except ValueError:  # its list of files, of which doctor and fetch say more
        return "damaged"


# name: (what it is, made again without a download)
KINDS = {
    "simulated": ("rendered tiles of the simulated data sets", True),
    "decoded": ("data sets unpacked for quick reading", True),
    "training": ("scenes rendered to train the minis", True),
    "embeddings.sqlite": ("embeddings of images and texts", True),
    "fetched": ("data sets and checkpoints, downloaded or imported", False),
    "superres": ("super-resolution networks that were put there by hand", False),
}


def cache_arguments(parser):
    parser.add_argument("action", nargs="?", choices=["list", "clean"], default="list", help="default: list")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"what to clean: {', '.join(KINDS)}, or a folder in one"
    )


def cache(args):
    """``rs-course cache``: what the course keeps outside its own folders, and how to get the space back.

        rs-course cache                        what lies there, and how much it takes
        rs-course cache clean                  remove what the course makes again by itself
        rs-course cache clean fetched          remove the downloads: they have to be fetched again
        rs-course cache clean fetched/eurosat  one of them

    Nothing else is ever removed, so that ``RS_COURSE_CACHE`` may name a folder that holds other things.
    """
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
