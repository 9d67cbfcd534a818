"""Lessons executed, and what is made of them: book, slides, a release's files, the address they have."""

from __future__ import annotations

import ast
import hashlib
import re
import shutil
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from rs_course.files import sha256, write_json
from rs_course.paths import checkout_dir, notebooks_dir, writable

if TYPE_CHECKING:
    import argparse


@dataclass(frozen=True)
class Job:
    """One notebook to run: ``changed`` are the injected parameters, ``values`` all of them."""

    path: Path
    notebook: object
    changed: dict
    values: dict


def run_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``rs-course run``."""
    add = parser.add_argument
    add("notebooks", nargs="*", help="files, or names such as 00 (default: all of notebooks/)")
    add("--profile", choices=["fast", "full"], help="value of the parameter PROFILE")
    add("--out", type=Path, default=Path("build"), help="folder for the results (default: build)")
    add(
        "-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), dest="parameters",
        help="set one parameter; may be repeated",
    )  # fmt: skip
    add("--force", action="store_true", help="run even what is done and unchanged")
    add("--jobs", type=int, default=1, help="notebooks at the same time (default: 1)")
    add("--in-place", action="store_true", help="refresh the outputs stored in the notebooks")


def run(args: argparse.Namespace):
    """``rs-course run``: execute notebooks headlessly, measure them, and build the index page.

        rs-course run                         all notebooks of the checkout, into build/
        rs-course run 00 01 -p SEED 3         two of them with another seed
        rs-course run 00 --in-place           refresh the outputs stored in notebooks/

    A notebook that is done and unchanged (sources, parameters, package, shipped data, versions) is not run
    again.
    """
    asked = dict(args.parameters)
    if args.profile:
        asked["PROFILE"] = args.profile
    if args.in_place and asked:
        raise ValueError("--in-place stores the notebooks' own defaults; leave -p and --profile out.")
    jobs = [_job(path, asked) for path in _find(args.notebooks)]
    labels = [f"[{number}/{len(jobs)}] {job.path.stem}" for number, job in enumerate(jobs, start=1)]
    one = _refresh if args.in_place else partial(_bring_up_to_date, build=args.out, force=args.force)
    if args.jobs == 1:
        errors = map(_announced(one), jobs, labels)
    else:
        # Processes of their own, so that each can see which kernel is its child and what that takes.
        with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
            waiting = [pool.submit(one, *work) for work in zip(jobs, labels, strict=True)]
            errors = [_awaited(future) for future in waiting]
    failed = {job.path.stem: error for job, error in zip(jobs, errors, strict=True) if error}
    if not args.in_place:
        from rs_course.execution.pages import write_index

        print(f"index: {write_index(args.out)}")
    for name, error in failed.items():
        print(f"rs-course: {name}: {error}", file=sys.stderr)
    return 1 if failed else 0


def _job(path: Path, asked: dict[str, str]) -> Job:
    """Read a notebook and check that it declares every parameter that is to be changed."""
    import nbformat

    from rs_course.execution.runner import declared_parameters

    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:100]
        raise ValueError(f"{path} is not a complete notebook ({reason}).") from None
    try:
        declared = declared_parameters(notebook)
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None
    if unknown := set(asked) - set(declared):
        raise ValueError(
            f"{path.name} has no parameter {', '.join(sorted(unknown))}; "
            f"it has {', '.join(declared) or 'none'}."
        )
    changed = {name: _value(name, text, declared[name]) for name, text in asked.items()}
    return Job(path, notebook, changed, declared | changed)


def _awaited(future) -> str | None:
    """The error of a notebook that ran in another process; one that dies takes the waiting ones with it."""
    try:
        return future.result()
    except BrokenProcessPool:
        return "not finished: a process died, as it does where memory runs out; fewer --jobs need less"


def _announced(one):
    """Name the notebook while it runs, where somebody watches; its line then replaces the name."""

    def run_one(job, label):
        if sys.stdout.isatty():
            print(f"{label} …", end="\r", flush=True)
        return one(job, label)

    return run_one


def _bring_up_to_date(job, label: str, *, build: Path, force: bool) -> str | None:
    """Execute one notebook into the build folder unless it is done, print its line, and return its error."""
    from rs_course.execution import pages, runner

    folder = writable(build / "notebooks")
    record_path, executed = folder / f"{job.path.stem}.json", folder / f"{job.path.stem}.ipynb"
    key = runner.fingerprint(job.notebook, job.values)
    if not force and (record := _done(record_path, key)):
        print(
            f"{label}: unchanged ({_cost(record['seconds'], record['peak_bytes'])} when it ran)", flush=True
        )
        return None
    # The record is written last: an interruption loses this notebook only, and leaves no half one as done.
    record_path.unlink(missing_ok=True)
    outcome = runner.execute(job.path, executed, job.changed)
    title = pages.title_of(job.notebook, job.path.stem)
    pages.write_page(outcome.notebook, executed.with_suffix(".html"), title)
    record = {
        "name": job.path.stem,
        "title": title,
        "profile": job.values.get("PROFILE", "fast"),
        "parameters": job.values,
        "seconds": round(outcome.seconds, 2),
        "peak_bytes": outcome.peak_bytes,
        "error": outcome.error,
        "fingerprint": None if outcome.error else key,
    }
    write_json(record_path, record)
    _report(label, outcome)
    return outcome.error


def _refresh(job, label: str) -> str | None:
    """Execute one notebook and store its outputs in it, unless a cell fails."""
    from rs_course.execution import runner

    with TemporaryDirectory() as scratch:
        outcome = runner.execute(job.path, Path(scratch) / job.path.name, {})
    if outcome.error is None:
        runner.store(outcome.notebook, job.path)
    _report(label, outcome)
    return outcome.error


def _report(label, outcome) -> None:
    verdict = "failed" if outcome.error else "ok"
    print(f"{label}: {verdict} ({_cost(outcome.seconds, outcome.peak_bytes)})", flush=True)


def _cost(seconds, peak_bytes) -> str:
    return f"{seconds:.1f} s, {peak_bytes / 2**20:.0f} MiB"


def _done(path: Path, key: str) -> dict | None:
    from rs_course.execution.pages import read_record

    record = read_record(path)
    pages_there = path.with_suffix(".html").is_file() and path.with_suffix(".ipynb").is_file()
    return record if record and record["fingerprint"] == key and pages_there else None


def _value(name: str, text: str, default):
    """What the command line says, as the kind of value that the notebook declares.

    Raises:
        ValueError: A text where the notebook has a number, or true or false.
    """
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        value = text
    if isinstance(default, bool):
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise ValueError(f"{name} is true or false, not {text!r}.")
    if isinstance(default, int | float) and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ValueError(f"{name} is a number ({default!r} by default), not {text!r}.")
    return text if isinstance(default, str) and not isinstance(value, str) else value


def _find(wanted) -> list[Path]:
    """Notebook files from file names or beginnings of names."""
    if not wanted:
        found = sorted(notebooks_dir().glob("*.ipynb"))
        if not found:
            raise FileNotFoundError(f"no notebook in {notebooks_dir()}; name the files to run.")
        return found
    found = []
    for name in wanted:
        matches = [Path(name)] if name.endswith(".ipynb") else sorted(notebooks_dir().glob(f"{name}*.ipynb"))
        if len(matches) != 1 or not matches[0].is_file():
            there = ", ".join(path.stem for path in sorted(notebooks_dir().glob("*.ipynb")))
            raise FileNotFoundError(
                f"{name!r} is not one notebook; give a file, or one of: {there or 'none here'}."
            )
        found += matches
    return found


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
