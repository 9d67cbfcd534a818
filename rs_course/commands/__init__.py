"""One module per ``rs-course`` subcommand; see :mod:`rs_course.cli`."""

from pathlib import Path


def add_build_folder(parser, what: str = "the executed notebooks") -> None:
    """The option ``--build`` of the commands that go on from what ``rs-course run`` made."""
    parser.add_argument(
        "--build", type=Path, default=Path("build"), help=f"folder with {what} (default: build)"
    )
