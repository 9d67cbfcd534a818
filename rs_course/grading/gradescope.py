"""Grade on Gradescope: the autograder zip, and what runs in it.

After *Autograder Specifications* (gradescope-autograders.readthedocs.io): the zip holds ``setup.sh``, run
once as root when the image is built, and ``run_autograder``, run as root for each submission in a fresh
container. The zip's files are in ``/autograder/source``, the student's in ``/autograder/submission``, and
``/autograder/results/results.json`` is what counts. A student's code may not become root there, so it runs
as :class:`.isolation.AnotherUser`, and everything under ``/autograder`` is readable by root alone.
"""

from __future__ import annotations

import json
import sys
from importlib import metadata
from pathlib import Path

from rs_course.files import write_bytes, write_text
from rs_course.grading import handed_in, isolation, notebooks, records

_SETUP = """#!/usr/bin/env bash
# Runs once, as root, when Gradescope builds the image.
set -euo pipefail
umask 022
cd /autograder/source
apt-get update
for version in 3.11 3.12 3.13; do
  apt-get install -y "python$version" "python$version-venv" && break
done
"python$version" -m venv /opt/rs-course
/opt/rs-course/bin/pip install --no-cache-dir --extra-index-url {index} -r requirements.txt
# What runs beside the student's code may be read by everyone, the rest of this folder by root alone.
rm -rf /grader
cp -r grader /grader
chmod -R u=rwX,go=rX /grader
chown -R 0:0 /grader /autograder/source
chmod -R go= /autograder/source
"""
_RUN = """#!/usr/bin/env bash
# Runs for each submission, as root; the student's code runs as nobody.
set -euo pipefail
chmod -R go= /autograder
cd /autograder/source
export HOME="${HOME:-/root}"
PYTHONPATH=/autograder/source exec /opt/rs-course/bin/python -B -m rs_course.grading.gradescope
"""
# Only after the instructor publishes the grades: otherwise every submission would be a question about them.
HIDDEN_UNTIL = "after_published"


def build(target: Path, name: str, release: Path, exam: str, seed: str, torch_index: str) -> Path:
    """Write the autograder zip; whoever has it has the secret seed.

    Args:
        target: The zip.
        name: Name of the assignment.
        release: The student version.
        exam: Name of one of the course's exams, or a Python file.
        seed: The secret seed of the hidden inputs.
        torch_index: Address of an index with torch's CPU builds.
    """
    import rs_course
    from rs_course.paths import data_dir

    files = [*_files(Path(rs_course.__file__).parent, "rs_course"), *_files(data_dir(), "rs_course/_data")]
    files += [(place.lstrip("/"), Path(source).read_bytes()) for source, place in isolation.grader_files()]
    own = Path(exam).is_file()
    if own:
        files.append(("assignment/exam.py", Path(exam).read_bytes()))
    settings = {"name": name, "exam": "assignment/exam.py" if own else exam, "seed": seed}
    files += [
        ("setup.sh", _SETUP.format(index=torch_index).encode()),
        ("run_autograder", _RUN.encode()),
        ("requirements.txt", _requirements().encode()),
        (f"assignment/{name}.ipynb", release.read_bytes()),
        ("assignment/settings.json", json.dumps(settings, indent=1).encode()),
    ]
    write_bytes(target, records.pack(files, programs=("setup.sh", "run_autograder")))
    target.chmod(0o600)
    return target


def _files(folder, place):
    """Name and bytes of each file, in a fixed order; without caches and an installed copy of the data."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        parts = path.relative_to(folder).parts
        if not {"__pycache__", "_data"} & set(parts):
            yield "/".join((place, *parts)), path.read_bytes()


def _requirements():
    """What the course needs, and what answers may use, in the versions that are installed here."""
    from packaging.requirements import Requirement

    lines = [Requirement(line) for line in metadata.requires("rs-course") or ()]
    names = {line.name for line in lines if not line.marker or line.marker.evaluate({"extra": ""})}
    names = sorted(names | set(isolation.ALWAYS), key=str.lower)
    # Which build it is (“+cpu”) is the index's business.
    return "".join(f"{name}=={metadata.version(name).partition('+')[0]}\n" for name in names)


def _is_notebook(name):
    # Browsers may add an ending of their own.
    return name.lower().endswith((".ipynb", ".ipynb.json", ".ipynb.txt"))


def find(folder: Path, name: str) -> bytes | ValueError:
    """The submitted notebook, called ``NAME.ipynb`` or the only one, also in a zip; or why there is none."""
    found: dict[str, bytes | ValueError] = {}
    for path in sorted(folder.rglob("*")):
        # A link could name the exam, which only root can read, and this is root.
        if not path.is_file() or path.resolve() != folder.resolve() / path.relative_to(folder):
            continue
        if path.suffix.lower() == ".zip":
            try:
                inside = handed_in.members(path, wanted=_is_notebook)
                found |= {f"{path.name}/{member.name}": member.data for member in inside}
            except ValueError as error:
                found[path.name] = error
        elif _is_notebook(path.name):
            small = path.stat().st_size <= notebooks.MAX_BYTES
            reason = f"{path.name} is larger than {notebooks.MAX_BYTES // 2**20} MB: clear its outputs"
            found[path.relative_to(folder).as_posix()] = path.read_bytes() if small else ValueError(reason)
    ours = {path: data for path, data in found.items() if _is_notebook(path)}
    named = [data for path, data in ours.items() if path.rpartition("/")[2].startswith(f"{name}.ipynb")]
    chosen = named or list(ours.values())
    if len(chosen) == 1:
        return chosen[0]
    if chosen:
        return ValueError(f"{len(chosen)} notebooks were handed in: hand in one, called {name}.ipynb")
    errors = [data for data in found.values() if isinstance(data, ValueError)]
    return errors[0] if errors else ValueError(f"no notebook was handed in: hand in {name}.ipynb")


def results(record: dict) -> dict:
    """A record in the form of ``results.json``.

    Public checks are shown at once; of hidden ones each question shows one line with its points, when the
    grades are published. Points for prose are given in Gradescope, whose total must include them. Gradescope
    shows a leaderboard at once, after every submission, so hidden inputs have none here.
    """
    said = [record["reason"], *record["notes"]]
    tests = []
    for question in record["questions"]:
        said.append(f"{question['question']}: {question['message']}" if question["message"] else "")
        for check in question["checks"]:
            if check["public"]:
                tests.append(_test(check["name"], [check], check["message"], "visible"))
        if hidden := [check for check in question["checks"] if not check["public"]]:
            messages = "\n".join(dict.fromkeys(check["message"] for check in hidden if check["message"]))
            tests.append(_test(f"{question['question']}: hidden checks", hidden, messages, HIDDEN_UNTIL))
    if by_hand := [item["question"] for item in record["manual"]]:
        said.append(f"Marked by hand: {', '.join(by_hand)}.")
    return {
        "tests": tests,
        "output": "\n".join(line for line in said if line),
        "execution_time": record["seconds"],
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "extra_data": {key: record[key] for key in ("submission_sha256", "isolation", "versions", "key")},
    }


def _test(name, checks, output, visibility):
    score, most = (round(sum(check[key] for check in checks), 6) for key in ("score", "points"))
    status = "passed" if score == most else "failed"
    made = {"name": name, "score": score, "max_score": most, "status": status, "visibility": visibility}
    # A student's own words may be among them: text, never HTML.
    return made | {"output": output, "output_format": "text", "name_format": "text"}


def main(root: Path = Path("/autograder")) -> int:
    """Grade the one submission of this container. Without ``results.json`` Gradescope gives no grade."""
    from rs_course.grading.grader import Assignment, grade
    from rs_course.grading.sandbox import USER, Sandbox

    source = root / "source"
    settings = json.loads((source / "assignment" / "settings.json").read_text(encoding="utf-8"))
    name, exam = settings["name"], settings["exam"]
    exam = str(source / exam) if exam.endswith(".py") else exam
    assignment = Assignment.load(source / "assignment" / f"{name}.ipynb", exam, settings["seed"])
    with Sandbox(USER, preload=assignment.exam.preload) as place:
        record = grade(assignment, find(root / "submission", name), "student", place)
    made = json.dumps(results(record), indent=1)
    write_text(root / "results" / "results.json", made + "\n")
    print(f"graded {records.score(record):g} of {records.max_score(record):g}: {record['status']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
