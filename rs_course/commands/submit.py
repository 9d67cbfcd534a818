"""``rs-course submit NOTEBOOK``: a zip with the notebook and a manifest of its hash, ready to upload."""

import hashlib
import json
import zipfile
from pathlib import Path


def add_arguments(parser):
    parser.add_argument("notebook", help="your assignment notebook")
    parser.add_argument("--student", help="your student id; it becomes part of the file name")
    parser.add_argument("--out", default=".", help="folder for the zip (default: here)")


def run(args):
    from rs_course.grading import notebooks, records
    from rs_course.grading.intake import MANIFEST

    notebook = Path(args.notebook)
    if not notebook.is_file():
        raise FileNotFoundError(f"There is no notebook {notebook}.")
    try:
        cells, _ = notebooks.read_file(notebook)
    except notebooks.Unreadable as error:
        raise ValueError(f"{notebook} cannot be submitted: {error}.") from None
    if not any(cell.is_answer for cell in cells):
        raise ValueError(f"{notebook} has no answer cells: is it the assignment's notebook?")
    data = notebook.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    manifest = {
        "assignment": notebook.stem,
        "notebook": notebook.name,
        "sha256": digest,
        "engine": records.ENGINE,
    }
    stem = f"{notebook.stem}-{records.file_name(args.student)}" if args.student else notebook.stem
    target = Path(args.out, f"{stem}.zip")
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        # A fixed date: the same notebook makes the same zip.
        for name, content in ((notebook.name, data), (MANIFEST, json.dumps(manifest, indent=1).encode())):
            archive.writestr(zipfile.ZipInfo(name, (2000, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    print(f"{target} is ready to upload. Keep this receipt of your notebook: {digest[:16]}")
