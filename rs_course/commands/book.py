"""``rs-course book``: the course as a static site that needs no network, from the executed notebooks.

    rs-course run && rs-course book       the site in build/book/, its first page build/book/index.html

Notebooks are taken as ``rs-course run`` left them in ``build/notebooks/``; none is executed here. The prose
pages are those of ``docs/``, the reference is made from the docstrings of the installed package.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from rs_course.commands import add_build_folder
from rs_course.paths import checkout_dir, writable


def add_arguments(parser):
    add_build_folder(parser)
    parser.add_argument("--out", type=Path, help="folder for the site (default: book/ in the build folder)")


def run(args):
    from rs_course.execution import book, draw, reference

    root = checkout_dir()
    lessons = book.executed(args.build, root / "notebooks")
    site, sources = args.out or args.build / "book", args.build / "book-sources"
    if site.is_dir() and any(site.iterdir()) and not (site / ".buildinfo").is_file():
        raise ValueError(f"{site} holds files that are no book; name another folder with --out.")
    writable(site)
    with TemporaryDirectory() as scratch:
        book.assemble(root, lessons, Path(scratch, "sources"))
        reference.write(Path(scratch, "sources", "api"))
        try:
            draw.write(Path(scratch, "sources", "_static", "draw"), args.build / "draw")
        except draw.Unavailable as reason:
            print(f"book: without the page that draws in the browser, because {reason}.")
            book.leave_out_drawing(Path(scratch, "sources"))
        # Sphinx reads only what is newer than its last build; a page that is gone must not stay in the site.
        if book.synchronise(Path(scratch, "sources"), sources):
            shutil.rmtree(site, ignore_errors=True)
    warnings = book.sphinx(sources, site)
    print(f"book: {site / 'index.html'}" + (f" ({warnings} warnings, above)" if warnings else ""))
