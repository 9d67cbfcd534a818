"""``rs-course submit NOTEBOOK``: a zip with the notebook and a manifest of its hash, ready to upload.

rs-course submit a3_super_resolution.ipynb --student ada
"""

import hashlib
import json
from pathlib import Path


def add_arguments(parser):
    parser.add_argument("notebook", help="your assignment notebook")
    parser.add_argument("--student", help="your student id; it becomes part of the file name")
    parser.add_argument("--out", default=".", help="folder for the zip (default: here)")


def run(args):
    from rs_course.grading import archives, notebooks, paths, records
    from rs_course.grading.intake import MANIFEST

    notebook = Path(args.notebook)
    if not notebook.is_file():
        raise FileNotFoundError(f"There is no notebook {notebook}.")
    try:
        cells, _ = notebooks.read_file(notebook)
    except notebooks.Unreadable as error:
        raise ValueError(f"{notebook} cannot be submitted: {error}.") from None
    name = paths.assignment_name(notebook)
    if not any(cell.is_answer for cell in cells):
        if not _has_answers(cells, name, paths, notebooks):
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
    records.write_bytes(target, archives.pack(files))
    print(f"{target} is ready to upload. Keep this receipt of your notebook: {digest[:16]}")


def _has_answers(cells, name, paths, notebooks):
    """Whether the grader would find answers of the assignment, or of any if its release is not here."""
    try:
        release, _ = notebooks.read_file(paths.release_notebook(name))
    except FileNotFoundError:
        return any(cell.kind == "code" and notebooks.defined_names(cell.source) for cell in cells)
    return bool(notebooks.transplant(release, cells).answers)
