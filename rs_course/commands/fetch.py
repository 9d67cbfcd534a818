"""``rs-course fetch``: download or import a data set or checkpoint, or list what there is.

rs-course fetch --list                       what can be fetched, what is here
rs-course fetch eurosat                      download, verify; continues after an interruption
rs-course fetch crsdiff --from last.ckpt     a file that was brought by hand
rs-course fetch rsicd --mirror http://host/  from a mirror (or set RS_COURSE_MIRROR)
"""

from __future__ import annotations

import textwrap
from pathlib import Path

from rs_course import fetching, registry

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
    """What can be fetched: name, content, download size, memory of the weights in 16 bits, licence, here or
    not.
    """
    lines = []
    for kind, heading in _HEADINGS.items():
        lines += [heading, ""]
        for name in registry.names(kind):
            entry = registry.get(name)
            state = "here" if entry.here() else "by hand" if entry.by_hand else "–"
            download = f"{registry.readable(entry.size)} to download"
            memory = f", {registry.readable(entry.memory)} in memory" if entry.memory else ""
            lines.append(f"  {name:<26} {state:<8} {entry.what}")
            lines += textwrap.wrap(
                f"{download}{memory}; licence: {entry.licence}",
                96,
                initial_indent=" " * 38,
                subsequent_indent=" " * 38,
            )
        lines.append("")
    lines.append(
        "Fetch one with 'rs-course fetch NAME'; it goes to "
        + str(registry.get("eurosat").folder.parent)
        + "."
    )
    lines.append("'?' means that no size is published; memory is that of the weights in 16 bits.")
    return "\n".join(lines)
