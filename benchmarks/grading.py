"""Throughput of ``rs-course grade`` against ``nbgrader autograde`` on the same 40 submissions.

    python -m venv build/nbgrader && build/nbgrader/bin/pip install nbgrader
    python benchmarks/grading.py --nbgrader build/nbgrader/bin

Both grade a small torch notebook with three functions, the same checks, in kernels (or sandboxes) of this
interpreter. They take turns, ten submissions at a time, so that other load on the machine meets both; each
turn is a new process, so start-up counts. nbgrader runs one notebook after the other and without isolation;
ours isolates, with two workers.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

NAME, STUDENTS, TURNS = "bench", 40, 4

EXAM = """
import torch

from rs_course.grading.exam import Check, Exam


def _images(rng):
    pred, target = (torch.from_numpy(rng.uniform(size=(2, 3, 24, 24))) for _ in range(2))
    return {"pred": pred, "target": target}


def _maps(rng):
    return {"features": torch.from_numpy(rng.normal(size=(2, 4, 5, 6)))}


def _factors(rng):
    a, b = (torch.from_numpy(rng.normal(size=shape)) for shape in ((6, 9), (12, 6)))
    return {"weight": torch.from_numpy(rng.normal(size=(4, 3, 3, 3))), "A": a, "B": b}


def _affinity(features):
    pixels = torch.nn.functional.normalize(features.flatten(2), dim=1)
    return pixels.transpose(1, 2) @ pixels


exam = Exam(
    "bench",
    "Benchmark",
    (
        Check("psnr.hidden", "psnr", 2, "psnr(pred, target)", _images,
              lambda pred, target: -10 * torch.log10(((pred - target) ** 2).mean((1, 2, 3)))),
        Check("affinity.hidden", "affinity", 2, "affinity(features)", _maps, _affinity),
        Check("merged.hidden", "merged", 2, "merged(weight, A, B)", _factors,
              lambda weight, A, B: weight + (B @ A).reshape(weight.shape)),
    ),
)
"""

ANSWERS = {
    "psnr": (
        "def psnr(pred, target):\n    return -10 * torch.log10(((pred - target) ** 2).mean(dim=(1, 2, 3)))",
        "a, b = torch.rand(2, 3, 24, 24), torch.rand(2, 3, 24, 24)\n"
        "assert torch.allclose(psnr(a, b), -10 * ((a - b) ** 2).flatten(1).mean(1).log10())",
    ),
    "affinity": (
        "def affinity(features):\n    pixels = F.normalize(features.flatten(2), dim=1)\n"
        "    return pixels.transpose(1, 2) @ pixels",
        "f = F.normalize(torch.rand(2, 4, 5, 6).flatten(2), dim=1)\n"
        "expected = torch.einsum('ncp,ncq->npq', f, f)\n"
        "assert torch.allclose(affinity(f.reshape(2, 4, 5, 6)), expected, atol=1e-5)",
    ),
    "merged": (
        "def merged(weight, A, B):\n    return weight + (B @ A).reshape(weight.shape)",
        "w, a, b = torch.rand(4, 3, 3, 3), torch.rand(6, 9), torch.rand(12, 6)\n"
        "assert torch.allclose(merged(w, a, b), w + torch.matmul(b, a).view(4, 3, 3, 3))",
    ),
}


def _cells(wrong=(), source=False):
    import nbformat

    cells = [nbformat.v4.new_code_cell("import torch\nimport torch.nn.functional as F")]
    cells[0].metadata["nbgrader"] = _marks("setup", locked=True)
    for name, (answer, test) in ANSWERS.items():
        head, body = answer.split("\n", 1)
        if source:
            answer = f"{head}\n    ### BEGIN SOLUTION\n{body}\n    ### END SOLUTION"
        elif name in wrong:
            answer = f"{head}\n    return None"
        cells.append(nbformat.v4.new_code_cell(answer))
        cells[-1].metadata["nbgrader"] = _marks(name, solution=True)
        cells.append(
            nbformat.v4.new_code_cell(
                f"### BEGIN HIDDEN TESTS\n{test}\n### END HIDDEN TESTS" if source else ""
            )
        )
        cells[-1].metadata["nbgrader"] = _marks(f"{name}_test", grade=True, locked=True, points=2)
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "course", "display_name": "course", "language": "python"}
    return notebook


def _marks(grade_id, **marks):
    base = {"schema_version": 3, "grade_id": grade_id, "grade": False, "solution": False, "locked": False}
    return base | {"task": False} | marks


def prepare(folder: Path, python: str) -> list[str]:
    """nbgrader's course folder, 40 submissions, our release and exam; returns the students."""
    import nbformat

    kernel = folder / "jupyter" / "kernels" / "course"
    kernel.mkdir(parents=True)
    command = [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(
        json.dumps({"argv": command, "display_name": "course", "language": "python"})
    )
    (folder / "source" / NAME).mkdir(parents=True)
    nbformat.write(_cells(source=True), folder / "source" / NAME / f"{NAME}.ipynb")
    nbformat.write(_cells(wrong=ANSWERS), folder / "release.ipynb")
    (folder / "exam.py").write_text(EXAM)
    students = [f"s{n:02d}" for n in range(STUDENTS)]
    for number, student in enumerate(students):
        target = folder / "submitted" / student / NAME
        target.mkdir(parents=True)
        wrong = [name for place, name in enumerate(ANSWERS) if (number >> place) & 1]
        nbformat.write(_cells(wrong=wrong), target / f"{NAME}.ipynb")
    return students


def _timed(command, folder, environment):
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return seconds


def ours(folder, students, turn, workers, environment) -> float:
    """Seconds of one ``rs-course grade`` of some students, records and reports included."""
    inbox = folder / f"inbox-{turn}-{workers}"
    for student in students:
        shutil.copytree(folder / "submitted" / student, inbox / student)
    command = [sys.executable, "-m", "rs_course.cli", "grade", str(inbox), "--assignment", NAME]
    command += ["--release", "release.ipynb", "--exam", "exam.py", "--out", f"out-{turn}-{workers}"]
    return _timed([*command, "--workers", str(workers)], folder, environment)


def theirs(folder, students, binary, environment) -> float:
    """Seconds of one ``nbgrader autograde`` of some students."""
    # Ten students share the first digit.
    group = students[0][:2]
    return _timed([str(binary / "nbgrader"), "autograde", NAME, f"--student={group}*"], folder, environment)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--nbgrader", type=Path, required=True, help="bin folder of an environment with nbgrader"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "grading.json")
    args = parser.parse_args()
    binary = args.nbgrader.resolve()
    one_thread = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    load = [os.getloadavg()[0]]
    with TemporaryDirectory() as name:
        folder = Path(name)
        students = prepare(folder, sys.executable)
        here = {**os.environ, **one_thread}
        there = {**here, "PATH": f"{binary}:{os.environ['PATH']}", "JUPYTER_PATH": str(folder / "jupyter")}
        _timed([str(binary / "nbgrader"), "generate_assignment", NAME, "--force"], folder, there)
        size = STUDENTS // TURNS
        turns = []
        for turn in range(TURNS):
            group = students[turn * size : (turn + 1) * size]
            pair = {
                "nbgrader_s": theirs(folder, group, binary, there),
                "rs_course_s": ours(folder, group, turn, 2, here),
            }
            pair["ratio"] = pair["nbgrader_s"] / pair["rs_course_s"]
            turns.append({key: round(value, 2) for key, value in pair.items()})
            load.append(os.getloadavg()[0])
            print(turns[-1], flush=True)
        curve = {}
        for workers in (1, 2, 4):
            seconds = ours(folder, students, "all", workers, here)
            curve[workers] = {"seconds": round(seconds, 2), "per_minute": round(60 * STUDENTS / seconds, 1)}
            print(workers, curve[workers], flush=True)
        scores = _scores(folder / "out-all-2" / NAME / "grades.csv")
        expected = [2.0 * sum(not (n >> p) & 1 for p in range(3)) for n in range(STUDENTS)]
        assert scores == expected, "the benchmark graded wrongly"
    version = subprocess.run(
        [binary / "nbgrader", "--version"], capture_output=True, text=True
    ).stdout.split()[-1]
    result = {
        "what": "seconds for ten submissions a turn, process start included; only ours is isolated",
        "students": STUDENTS,
        "nbgrader": version,
        "cores": os.cpu_count(),
        "load_average": [round(value, 1) for value in load],
        "turns": turns,
        "median_ratio": round(statistics.median(turn["ratio"] for turn in turns), 2),
        "rs_course_by_workers": curve,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def _scores(path):
    import csv

    with path.open(newline="") as stream:
        return [float(row["raw_score"]) for row in csv.DictReader(stream)]


if __name__ == "__main__":
    main()
