"""``rs-course release-files``: what a release consists of, with the hash of each file.

make course book slides && rs-course release-files       into build/release/

rs_course-1.0.0-py3-none-any.whl    the package with checkpoints, notebooks and assignments
rs_course-1.0.0.tar.gz              the sources
rs-course-1.0.0-book.zip            the site, to be opened from its folder
rs-course-1.0.0-slides.zip          the slide decks, if they were made
rs-course-1.0.0-notebooks.zip       the executed notebooks with the record of their run
SHA256SUMS                          checked with `sha256sum -c SHA256SUMS`
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

from rs_course.commands import add_build_folder
from rs_course.files import sha256
from rs_course.paths import checkout_dir, writable


def add_arguments(parser):
    add_build_folder(parser, "notebooks and book")
    parser.add_argument(
        "--out", type=Path, help="folder for the files (default: release/ in the build folder)"
    )


def run(args):
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
    done = subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(out), str(root)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the package could not be built: {(done.stdout + done.stderr).strip()[-500:]}")
    name = f"rs-course-{__version__}"
    pack(args.build / "book", out / f"{name}-book.zip")
    if (args.build / "slides" / "index.html").is_file():
        pack(args.build / "slides", out / f"{name}-slides.zip")
    wanted = {f"{lesson.name}.{kind}" for lesson in lessons for kind in ("ipynb", "html", "json")} | {
        MATHJAX.name
    }
    pack(args.build / "notebooks", out / f"{name}-notebooks.zip", wanted | {MATHJAX.name})
    files = sorted(path for path in out.iterdir() if path.name != "SHA256SUMS")
    (out / "SHA256SUMS").write_text(
        "".join(f"{sha256(path)}  {path.name}\n" for path in files), encoding="utf-8"
    )
    for path in files:
        print(f"{path.stat().st_size / 2**20:8.1f} MiB  {path}")


def pack(folder: Path, target: Path, wanted: set[str] | None = None) -> None:
    """Pack a folder, or the named files of it, with its SHA256SUMS; the same files give the same bytes."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    files = [path for path in files if wanted is None or path.relative_to(folder).as_posix() in wanted]
    contents = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in contents.items())
    contents["SHA256SUMS"] = sums.encode()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents.items():
            entry = zipfile.ZipInfo(f"{target.stem}/{name}", date_time=(2026, 1, 1, 0, 0, 0))
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, data)
