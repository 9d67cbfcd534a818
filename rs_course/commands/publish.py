"""What a release shows and holds: the book, the slides, its files, and the address it is published at."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from rs_course.files import sha256
from rs_course.paths import checkout_dir, notebooks_dir, writable

if TYPE_CHECKING:
    import argparse


def _folders(parser, made: str, name: str, found: str = "the executed notebooks") -> None:
    found = f"folder with {found} (default: build)"
    parser.add_argument("--build", type=Path, default=Path("build"), help=found)
    made = f"folder for {made} (default: {name}/ in the build folder)"
    parser.add_argument("--out", type=Path, help=made)


def book_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``rs-course book``."""
    _folders(parser, "the site", "book")


def book(args: argparse.Namespace):
    """``rs-course book``: the course as a static site that needs no network, from the executed notebooks.

        rs-course run && rs-course book       the site in build/book/, its first page build/book/index.html

    Notebooks are taken as ``rs-course run`` left them in ``build/notebooks/``; none is executed here. The
    prose pages are those of ``docs/``, the reference is made from the docstrings of the installed package.
    """
    from rs_course.execution import book, ways_in

    root = checkout_dir()
    lessons = book.executed(args.build, root / "notebooks")
    site, sources = args.out or args.build / "book", args.build / "book-sources"
    if site.is_dir() and any(site.iterdir()) and not (site / ".buildinfo").is_file():
        raise ValueError(f"{site} holds files that are no book; name another folder with --out.")
    writable(site)
    with TemporaryDirectory() as scratch:
        book.assemble(root, lessons, Path(scratch, "sources"))
        book.write_reference(Path(scratch, "sources", "api"))
        try:
            ways_in.write_drawing(Path(scratch, "sources", "_static", "draw"), args.build / "draw")
        except ways_in.Unavailable as reason:
            print(f"book: without the page that draws in the browser, because {reason}.")
            book.leave_out_drawing(Path(scratch, "sources"))
        # Sphinx reads only what is newer than its last build; a page that is gone must not stay in the site.
        if book.synchronise(Path(scratch, "sources"), sources):
            shutil.rmtree(site, ignore_errors=True)
    warnings = book.sphinx(sources, site)
    print(f"book: {site / 'index.html'}" + (f" ({warnings} warnings, above)" if warnings else ""))


def slides_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``rs-course slides``."""
    _folders(parser, "the decks", "slides")


def slides(args: argparse.Namespace):
    """``rs-course slides``: a slide deck of each lesson, from the executed notebooks, offline.

    rs-course run && rs-course slides     decks in build/slides/, the list of them in build/slides/index.html
    """
    from rs_course.execution import book, slides

    lessons = book.executed(args.build, notebooks_dir())
    print(f"slides: {slides.write(lessons, writable(args.out or args.build / 'slides'))}")


def release_files_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``rs-course release-files``."""
    _folders(parser, "the files", "release", "notebooks and book")


def release_files(args: argparse.Namespace):
    """``rs-course release-files``: what a release consists of, with the hash of each file.

    make course book slides && rs-course release-files       into build/release/

    rs_course-1.0.0-py3-none-any.whl    the package with checkpoints, notebooks and assignments
    rs_course-1.0.0.tar.gz              the sources
    rs-course-1.0.0-book.zip            the site, to be opened from its folder
    rs-course-1.0.0-slides.zip          the slide decks, if they were made
    rs-course-1.0.0-notebooks.zip       the executed notebooks with the record of their run
    SHA256SUMS                          checked with `sha256sum -c SHA256SUMS`
    """
    from rs_course import __version__
    from rs_course.execution import book
    from rs_course.execution.pages import MATHJAX

    root, out = checkout_dir(), args.out or args.build / "release"
    lessons = book.executed(args.build, root / "notebooks")
    if not (args.build / "book" / "index.html").is_file():
        raise FileNotFoundError(f"there is no book in {args.build / 'book'}; run `make book` first.")
    writable(out)
    for old in out.glob("rs[_-]course-*"):
        old.unlink()
    command = [sys.executable, "-m", "build", "--outdir", str(out), str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the package could not be built: {(done.stdout + done.stderr).strip()[-500:]}")
    name = f"rs-course-{__version__}"
    pack(args.build / "book", out / f"{name}-book.zip")
    if (args.build / "slides" / "index.html").is_file():
        pack(args.build / "slides", out / f"{name}-slides.zip")
    wanted = {f"{lesson.name}.{kind}" for lesson in lessons for kind in ("ipynb", "html", "json")}
    pack(args.build / "notebooks", out / f"{name}-notebooks.zip", wanted | {MATHJAX})
    files = sorted(path for path in out.iterdir() if path.name != "SHA256SUMS")
    sums = "".join(f"{sha256(path)}  {path.name}\n" for path in files)
    (out / "SHA256SUMS").write_text(sums, encoding="utf-8")
    for path in files:
        print(f"{path.stat().st_size / 2**20:8.1f} MiB  {path}")


def pack(folder: Path, target: Path, wanted: set[str] | None = None) -> None:
    """Pack a folder, or the named files of it, with its SHA256SUMS; the same files give the same bytes."""
    from rs_course.grading import records

    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    files = [path for path in files if wanted is None or path.relative_to(folder).as_posix() in wanted]
    contents = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in contents.items())
    contents["SHA256SUMS"] = sums.encode()
    target.write_bytes(records.pack((f"{target.stem}/{name}", data) for name, data in contents.items()))


def address_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``rs-course address``."""
    parser.add_argument("repository", nargs="?", help="OWNER/NAME on GitHub (default: as it stands)")


def address(args: argparse.Namespace):
    """``rs-course address OWNER/NAME``: tell every file where the course is published.

    rs-course address OWNER/NAME     set-up cells, links to Colab, Kaggle and Binder, README, CITATION.cff
    rs-course address                write them again for the address that pyproject.toml tells
    """
    from rs_course.execution import ways_in

    root = checkout_dir()
    repository = args.repository or ways_in.repository_of(root)
    if repository and not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise ValueError(f"{repository!r} is no repository; give OWNER/NAME, as in its address on GitHub.")
    ways_in.write(root, repository)
    print(f"address: {repository or 'none yet; set-up cells ask for RS_COURSE_SOURCE'}")
