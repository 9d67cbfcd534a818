"""The ``rs-course`` command: a subcommand is two functions, ``name(args)`` and ``name_arguments(parser)``.

The first returns an exit status (``None`` means 0). A ``ValueError``, ``OSError`` or ``RuntimeError`` is
shown as its one sentence, without a traceback; set ``RS_COURSE_TRACEBACK=1`` to see where it came from.
"""

import argparse
import os
import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType

from rs_course import __version__

# name: (module that implements it, help line). A module is imported only when its command is called.
COMMANDS = {
    "setup": ("rs_course.commands.setup", "create .venv with the pinned environment"),
    "doctor": ("rs_course.commands.machine", "say what this machine has, what is missing and how to mend it"),
    "start": ("rs_course.commands.student", "copy the notebooks and assignments into a folder to work in"),
    "run": ("rs_course.commands.publish", "execute the notebooks headlessly and build the index page"),
    "book": ("rs_course.commands.publish", "build the course as a static site from the executed notebooks"),
    "slides": ("rs_course.commands.publish", "make a slide deck of each executed notebook"),
    "cache": ("rs_course.commands.machine", "say what the cache holds, and clean it"),
    "fetch": ("rs_course.commands.machine", "download or import a data set or checkpoint"),
    "generate": ("rs_course.commands.research", "make a data set with a generator, resumable"),
    "train": ("rs_course.commands.research", "train one of the mini models"),
    "study": ("rs_course.commands.research", "run a grid of experiments, resumable, into one ledger"),
    "report": ("rs_course.commands.research", "weigh a study: figures and a one-page summary"),
    "convert": ("rs_course.commands.research", "turn a published checkpoint into a clean safetensors folder"),
    "export": (
        "rs_course.commands.research",
        "write a generator as ONNX graphs, for programs without Python",
    ),
    "grade": ("rs_course.commands.grade", "grade submitted notebooks in isolation"),
    "mark": ("rs_course.commands.grade", "mark prose and figures of a graded class in the browser"),
    "check": (
        "rs_course.commands.student",
        "run an assignment's public checks on a notebook, as the grader would",
    ),
    "submit": ("rs_course.commands.student", "pack an assignment for submission"),
    "address": ("rs_course.commands.publish", "tell every file where the course is published"),
    "release-files": (
        "rs_course.commands.publish",
        "make the files of a release: package, book, notebooks, hashes",
    ),
    "release": ("rs_course.commands.grade", "make the student and solution versions of the assignments"),
}


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns its exit status."""
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = argparse.ArgumentParser(
        prog="rs-course", description="The remote-sensing course at the command line."
    )
    parser.add_argument("--version", action="version", version=f"rs-course {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, summary) in COMMANDS.items():
        command = subparsers.add_parser(name, help=summary, description=summary)
        if argv[:1] == [name]:
            command.set_defaults(run=describe(command, name, import_module(module)))
    args = parser.parse_args(argv)
    try:
        return args.run(args) or 0
    except KeyboardInterrupt:
        print(
            "rs-course: interrupted; what was finished is kept, run the same command to go on",
            file=sys.stderr,
        )
        return 130
    except ModuleNotFoundError as error:
        if os.environ.get("RS_COURSE_TRACEBACK") or (error.name or "").startswith("rs_course"):
            raise
        print(
            f"rs-course: {error.name} is not installed here; `python3 -m rs_course.cli setup` makes an "
            "environment that has everything.",
            file=sys.stderr,
        )
        return 1
    except (ValueError, OSError, RuntimeError) as error:
        if os.environ.get("RS_COURSE_TRACEBACK"):
            raise
        print(f"rs-course: {error}", file=sys.stderr)
        return 1


def describe(parser: argparse.ArgumentParser, name: str, module: ModuleType) -> Callable:
    """Give a parser a command's arguments and the calls in its docstring as examples; returns the command."""
    function = name.replace("-", "_")
    command = getattr(module, function)
    getattr(module, f"{function}_arguments")(parser)
    _, *lines = (command.__doc__ or module.__doc__ or "").splitlines() or [""]
    if examples := [line.strip() for line in lines if f"{parser.prog} " in f"{line} "]:
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.epilog = "\n  ".join(["examples:", *examples])
    return command


if __name__ == "__main__":
    sys.exit(main())
