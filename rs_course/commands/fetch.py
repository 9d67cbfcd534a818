"""``rs-course fetch``: download or import a data set or checkpoint, or list what there is.

    rs-course fetch --list                       what can be fetched, what is here
    rs-course fetch eurosat                      download, verify; continues after an interruption
    rs-course fetch crsdiff --from last.ckpt     a file that was brought by hand
    rs-course fetch rsicd --mirror http://host/  from a mirror (or set RS_COURSE_MIRROR)

What is published, and what is known of it, stands in ``data/registry.json``.
"""

from __future__ import annotations

import re
from pathlib import Path

from rs_course import fetching, paths, registry

_HEADINGS = {
    "dataset": "Data sets",
    "checkpoint": "Image generators",
    "scorer": "Image-text scorers",
    "super-resolution": "Super-resolution",
}


def add_arguments(parser):
    parser.add_argument("names", nargs="*", metavar="NAME", help="what to fetch, e.g. eurosat")
    parser.add_argument("--list", action="store_true", help="show what can be fetched and what is here")
    parser.add_argument(
        "--from", dest="source", type=Path, metavar="FILE", help="use this file or folder, no download"
    )
    parser.add_argument("--mirror", metavar="URL", help="base address with NAME/FILE below it")


def run(args):
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
