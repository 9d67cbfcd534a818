"""``rs-course address OWNER/NAME``: tell every file where the course is published.

rs-course address OWNER/NAME     set-up cells, links to Colab, Kaggle and Binder, README, CITATION.cff
rs-course address                write them again for the address that pyproject.toml tells
"""

from __future__ import annotations

import re

from rs_course.paths import checkout_dir


def add_arguments(parser):
    parser.add_argument("repository", nargs="?", help="OWNER/NAME on GitHub (default: as it stands)")


def run(args):
    from rs_course.execution import ways_in

    root = checkout_dir()
    repository = args.repository or ways_in.repository_of(root)
    if repository and not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise ValueError(f"{repository!r} is no repository; give OWNER/NAME, as in its address on GitHub.")
    ways_in.write(root, repository)
    print(f"address: {repository or 'none yet; set-up cells ask for RS_COURSE_SOURCE'}")
