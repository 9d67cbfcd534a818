"""What a student does at the command line: copy the course, check an assignment, pack it."""

from __future__ import annotations

import hashlib
import json
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING

from rs_course.files import atomic_write, write_bytes, write_json
from rs_course.paths import course_files, writable

if TYPE_CHECKING:
    import argparse

_RECORD = ".rs-course.json"


def start_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``rs-course start``."""
    parser.add_argument("folder", type=Path, help="where to work; it is made if it is not there")


def start(args: argparse.Namespace):
    """``rs-course start FOLDER``: the course's notebooks and assignments in a folder to work in.

    rs-course start my-course        copy them, and say how to open them
    rs-course start my-course        after an update of the package: bring what is new, keep what you wrote
    """
    folder = writable(args.folder)
    copied, kept = copy(course_files(), folder)
    print(f"start: {copied} files copied to {folder}" if copied else f"start: {folder} is up to date")
    for name in kept:
        print(f"  kept: {name}, which you changed; rename it and start again to get the course's version")
    if find_spec("jupyterlab") is None:
        print("JupyterLab is not installed here: pip install 'rs-course[course]'")
    first = min((folder / "notebooks").glob("[0-9]*.ipynb"))
    # Where the environment is not activated, the shell knows no jupyter, or that of another environment.
    here = which("jupyter", path=sysconfig.get_path("scripts"))
    jupyter = here if here and which("jupyter") != here else "jupyter"
    commands = f"  cd {_quoted(folder)}\n  {_quoted(jupyter)} lab notebooks/{first.name}"
    print(f"Open the first lesson with\n{commands}")


def _quoted(path) -> str:
    """As a shell takes it, that of Windows too."""
    return f'"{path}"' if " " in str(path) else str(path)


def copy(files: dict[str, Path], folder: Path) -> tuple[int, list[str]]:
    """Copy each file unless its place holds something that the course did not put there.

    Args:
        files: Path in ``folder`` to the file of the course.
        folder: An existing folder.

    Returns:
        How many files were written, and the names of those that were left because they had been changed.
    """
    record = folder / _RECORD
    known = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    copied, kept = 0, []
    for name, source in files.items():
        target, content = folder / name, source.read_bytes()
        there = target.read_bytes() if target.is_file() else None
        if there == content:
            pass
        elif there is None or _sha256(there) == known.get(name):
            with atomic_write(target) as partial:
                partial.write_bytes(content)
            copied += 1
        else:
            kept.append(name)
            continue
        known[name] = _sha256(content)
    write_json(record, known)
    return copied, kept


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def check_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``rs-course check``."""
    add = parser.add_argument
    add("notebook", help="your assignment notebook")
    add("--assignment", help="its name, if the file is called something else")
    add("--release", metavar="NOTEBOOK", help="the student version, if it lies elsewhere")
    add("--exam", metavar="FILE", help="Python file that defines exam, for your instructor's own")


def check(args: argparse.Namespace):
    """``rs-course check NOTEBOOK``: the public checks, run as the grader would run them.

    rs-course check assignments/release/a3_super_resolution/a3_super_resolution.ipynb
    """
    from rs_course.grading import sandbox
    from rs_course.grading.grader import Assignment, run_public
    from rs_course.grading.release import assignment_name, exam_source, release_notebook

    notebook, _ = _read(args.notebook, "would not be graded")
    name = args.assignment or assignment_name(notebook)
    release = release_notebook(name, args.release)
    exam = exam_source(name, args.exam, release)
    assignment = Assignment.load(release, exam, seed="public")
    missing = sandbox.why_no_bubblewrap()  # one's own code may run without
    isolation = sandbox.PROCESS if missing else sandbox.BUBBLEWRAP
    with sandbox.Sandbox(isolation, preload=assignment.exam.preload) as place:
        record = run_public(assignment, notebook.read_bytes(), place)
    for note in record["notes"]:
        print(f"  {note}")
    if record["reason"]:
        raise ValueError(f"{notebook} would not be graded: {record['reason']}.")
    right = True
    for question in record["questions"]:
        if question["message"]:
            print(f"✗ {question['question']}: {question['message']}")
            right = False
        for item in question["checks"]:
            done = item["score"] == item["points"]
            mark = "✓" if done else "…" if item["message"] in ("not answered", "not done yet") else "✗"
            print(f"{mark} {item['name']}{'' if done else ': ' + item['message']}")
            right &= done
    prose = [item["question"] for item in record["manual"] if item["score"] == 0.0]
    for question in prose:
        print(f"… {question}: not answered (graded by hand)")
    if missing:
        print(f"Run as a plain process: {missing}. The grader isolates it.")
    print("All public checks are right." if right and not prose else "There is something left to do.")
    return 0 if right else 1


def submit_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``rs-course submit``."""
    parser.add_argument("notebook", help="your assignment notebook")
    parser.add_argument("--student", help="your student id; it becomes part of the file name")
    parser.add_argument("--out", default=".", help="folder for the zip (default: here)")


def submit(args: argparse.Namespace):
    """``rs-course submit NOTEBOOK``: a zip with the notebook and a manifest of its hash, ready to upload.

    rs-course submit a3_super_resolution.ipynb --student ada
    """
    from rs_course.grading import records
    from rs_course.grading.intake import MANIFEST
    from rs_course.grading.release import assignment_name

    notebook, cells = _read(args.notebook, "cannot be submitted")
    name = assignment_name(notebook)
    if not any(cell.is_answer for cell in cells):
        if not _has_answers(cells, name):
            raise ValueError(f"{notebook} has no answer cells: is it the assignment's notebook?")
        print(
            "The cells have lost the marks by which answers are found; the grader finds functions by their "
            "names and shows your text to a person. Write in the notebook that you were given if you can."
        )
    data = notebook.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    manifest = {"assignment": name, "notebook": notebook.name, "sha256": digest, "engine": records.ENGINE}
    stem = f"{name}-{records.file_name(args.student)}" if args.student else name
    target = Path(args.out, f"{stem}.zip")
    files = ((notebook.name, data), (MANIFEST, json.dumps(manifest, indent=1).encode()))
    write_bytes(target, records.pack(files))
    print(f"{target} is ready to upload. Keep this receipt of your notebook: {digest[:16]}")


def _read(name, otherwise):
    """The path of a student's notebook, and its cells."""
    from rs_course.grading import notebooks

    notebook = Path(name)
    if not notebook.is_file():
        raise FileNotFoundError(f"There is no notebook {notebook}.")
    try:
        return notebook, notebooks.read_file(notebook)[0]
    except notebooks.Unreadable as error:
        raise ValueError(f"{notebook} {otherwise}: {error}.") from None


def _has_answers(cells, name):
    """Whether the grader would find answers of the assignment, or of any if its release is not here."""
    from rs_course.grading import notebooks
    from rs_course.grading.release import release_notebook

    try:
        release, _ = notebooks.read_file(release_notebook(name))
    except FileNotFoundError:
        return any(cell.kind == "code" and notebooks.defined_names(cell.source) for cell in cells)
    return bool(notebooks.transplant(release, cells).answers)
