"""``rs-course slides``: a slide deck of each lesson, from the executed notebooks, offline.

rs-course run && rs-course slides     decks in build/slides/, the list of them in build/slides/index.html
"""

from __future__ import annotations

from pathlib import Path

from rs_course.commands import add_build_folder
from rs_course.paths import notebooks_dir, writable


def add_arguments(parser):
    add_build_folder(parser)
    parser.add_argument(
        "--out", type=Path, help="folder for the decks (default: slides/ in the build folder)"
    )


def run(args):
    from rs_course.execution import book, slides

    lessons = book.executed(args.build, notebooks_dir())
    print(f"slides: {slides.write(lessons, writable(args.out or args.build / 'slides'))}")
