"""A class graded in one go: resumed, repeated, regraded, killed, and the same grades every time."""

import csv
import json
import os
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from rs_course.grading import batch, gradebook, records, reports
from rs_course.grading.intake import Submission
from rs_course.grading.policy import LatePolicy
from rs_course.grading.sandbox import MachineFault, Sandbox

from .conftest import ANSWERS, FULL, PROSE, TINY, as_bytes, notebook

WRONG = {**ANSWERS, "double": "def double(x):\n    return x * x"}


def _some():
    return [
        Submission("ana", as_bytes(notebook(ANSWERS, PROSE))),
        Submission("bob", as_bytes(notebook(WRONG))),
        Submission("cem", as_bytes(notebook({}))),
        Submission("dia", ValueError("nothing was handed in")),
    ]


def test_scores_and_messages(tiny, isolated, tmp_path):
    graded = batch.run(batch.Plan(tiny, tmp_path), _some())
    assert [records.score(record) for record in graded] == [FULL, 6.0, 0.0, 0.0]
    assert graded[1]["questions"][0]["checks"][1]["message"] == "you squared x"
    assert graded[2]["questions"][0]["checks"][0]["message"] == "not answered"
    assert graded[3]["reason"] == "nothing was handed in"
    assert [item["score"] for item in graded[0]["manual"]] == [None]
    assert graded[0]["leaderboard"] == 1.0
    assert graded[0]["isolation"] == "bubblewrap" and len(graded[0]["submission_sha256"]) == 64


def test_second_run_does_nothing_and_third_does_the_same(tiny, isolated, tmp_path):
    plan, lines = batch.Plan(tiny, tmp_path), []
    first = batch.run(plan, _some())
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json")}
    batch.run(plan, _some(), progress=lines.append)
    assert lines == ["4 of 4 submissions are graded already"]
    assert stamps == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json")}
    again = batch.run(replace(plan, force=True), _some(), workers=2)
    for one, two in zip(first, again, strict=True):
        assert {**one, "seconds": 0} == {**two, "seconds": 0}


def test_a_corrected_date_needs_no_new_run(tiny, isolated, tmp_path):
    plan, lines = batch.Plan(tiny, tmp_path), []
    (before,) = batch.run(plan, _some()[:1])
    when = datetime(2026, 11, 20, 10, tzinfo=UTC)
    (after,) = batch.run(plan, [replace(_some()[0], timestamp=when, late=True)], progress=lines.append)
    assert lines == ["1 of 1 submissions are graded already"]
    assert after == {**before, "timestamp": when.isoformat(), "late_flag": True} != before
    assert records.read(plan.path("ana")) == after


def test_progress_says_how_long_it_will_take(monkeypatch):
    clock = iter([0.0, 50.0, 100.0])
    monkeypatch.setattr(batch, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    lines = []
    say = batch._Countdown(7, 5, lines.append)
    record = {"student": "ana", "reason": "", "manual": [], "questions": [{"score": 2.0, "points": 3.0}]}
    say.done(record, None)
    say.done(record, {**record, "questions": [{"score": 1.0, "points": 3.0}]})
    assert lines == [
        "2 of 7 submissions are graded already",
        "[1/5] ana 2/3 · about 3 min left",
        "[2/5] ana 2/3 (was 1) · about 2 min left",
    ]


def test_changed_submission_exam_or_seed_is_graded_again(tiny, isolated, tmp_path):
    batch.run(batch.Plan(tiny, tmp_path), _some()[1:2])
    (record,) = batch.run(batch.Plan(tiny, tmp_path), [Submission("bob", as_bytes(notebook(ANSWERS)))])
    assert records.score(record) == FULL
    other_seed = replace(tiny, seed="another")
    assert tiny.key(b"x") != other_seed.key(b"x") != replace(tiny, release=tiny.release + b" ").key(b"x")


@pytest.mark.parametrize("later", [b"", as_bytes(notebook(ANSWERS))[:-9], b'{"cells": [], "nbformat": 4}'])
def test_a_file_with_nothing_in_it_replaces_no_grade(tiny, isolated, tmp_path, later):
    plan = batch.Plan(tiny, tmp_path)
    (before,) = batch.run(plan, _some()[:1])
    for _ in range(2):
        (after,) = batch.run(plan, [Submission("ana", later)])
        assert records.score(after) == records.score(before) == FULL
        (note,) = set(after["notes"]) - set(before["notes"])
        assert note.startswith("Nothing to grade in the last collection (")
        assert records.read(plan.path("ana")) == after


def test_regrading_one_question_keeps_the_others(tiny, isolated, tmp_path):
    plan = batch.Plan(tiny, tmp_path)
    (before,) = batch.run(plan, _some()[1:2])
    doctored = json.loads(plan.path("bob").read_text())
    for question in doctored["questions"]:
        question["score"] = 0.5
    records.write(plan.path("bob"), doctored)
    (after,) = batch.run(replace(plan, only=frozenset({"double"})), _some()[1:2])
    assert [question["score"] for question in after["questions"]] == [
        before["questions"][0]["score"],
        0.5,
        0.5,
    ]
    assert after["leaderboard"] == before["leaderboard"]


def test_a_fault_of_the_grader_is_one_row(tiny, isolated, tmp_path, monkeypatch):
    def broken(self, value):
        raise ZeroDivisionError("exam bug")

    monkeypatch.setattr("rs_course.grading.exam.SeededCheck.judge", broken)
    graded = batch.run(batch.Plan(tiny, tmp_path), _some())
    assert [record["status"] for record in graded[:2]] == ["grader error"] * 2
    assert "exam bug" in graded[0]["reason"] and graded[2]["status"] == "graded"
    monkeypatch.undo()
    graded = batch.run(batch.Plan(tiny, tmp_path), _some())
    assert records.score(graded[0]) == FULL


def test_a_fault_of_the_machine_is_no_grade_and_costs_none(tiny, isolated, tmp_path, monkeypatch):
    def killed(self, job, limits):
        raise MachineFault("this machine could not run it")

    plan = batch.Plan(tiny, tmp_path)
    (before,) = batch.run(plan, _some()[:1])
    monkeypatch.setattr(Sandbox, "run", killed)
    graded = batch.run(replace(plan, force=True), _some()[:2])
    assert [record["status"] for record in graded] == ["grader error"] * 2
    assert "this machine could not run it" in graded[0]["reason"]
    assert records.read(plan.path("ana")) == before, "the grade that was there is kept"
    reports.write(tmp_path, tiny, graded, [], LatePolicy())
    assert (tmp_path / "grades.csv").read_text().splitlines()[2] == "tiny,,,bob,,,,,,,12.0", "not a zero"
    assert "0 students" not in (tmp_path / "summary.html").read_text()
    monkeypatch.undo()
    graded = batch.run(plan, _some()[:2])
    assert [records.score(record) for record in graded] == [FULL, 6.0]


def test_a_record_that_cannot_be_written_is_one_row(tiny, isolated, tmp_path):
    plan = batch.Plan(tiny, tmp_path)
    plan.path("ana").mkdir(parents=True)  # nothing can be written where a folder is
    graded = batch.run(plan, _some()[:2])
    assert graded[0]["status"] == "grader error" and "could not be written" in graded[0]["reason"]
    assert records.score(records.read(plan.path("bob"))) == 6.0
    assert list(plan.path("ana").parent.glob(".*")) == []


def test_what_a_submission_says_can_be_stored_and_shown(tiny, isolated, tmp_path):
    """Lone surrogates and control characters, in errors, in what is printed, in file names."""
    said = "\\ud800 \\x00 \\x1b[2J"
    answers = {
        **ANSWERS,
        "double": f"print('{said}')\ndef double(x):\n    raise ValueError('{said}')",
        "spread": f"# {chr(0xDC80)}\n{ANSWERS['spread']}",
    }
    made = [Submission("eve\udcff", as_bytes(notebook(answers)), notes=["file \ud800"]), *_some()[:1]]
    graded = batch.run(batch.Plan(tiny, tmp_path), made)
    assert [records.score(record) for record in graded] == [5.0, FULL]
    assert graded == batch.run(batch.Plan(tiny, tmp_path), made), "the record on the disk is the same"
    text = json.dumps(graded[0], ensure_ascii=False)
    assert not any(sign in text for sign in ("\x00", "\x1b", "\ud800", "\udc80"))
    assert "your code stopped with ValueError" in graded[0]["questions"][0]["checks"][0]["message"]


def test_sandboxes_warm_up_while_the_exam_is_loaded(tiny, isolated, tmp_path):
    preload = ("numpy", "torch.nn.functional")
    batch.prepare("bubblewrap", 1)
    (spare,) = batch._spare
    other = replace(tiny, exam=replace(tiny.exam, preload=preload))
    (record,) = batch.run(batch.Plan(other, tmp_path), _some()[:1])
    assert records.score(record) == FULL and spare._place.nested, "it was used"
    assert spare._place._process is None and batch._spare == []
    batch.prepare("bubblewrap", 1)
    (spare,) = batch._spare
    (record,) = batch.run(batch.Plan(tiny, tmp_path / "numpy"), _some()[:1])
    assert records.score(record) == FULL and not spare._place.nested, "this exam shows no torch"
    assert spare._place._process is None and batch._spare == []


def test_a_second_grader_takes_what_the_first_has_done(tiny, isolated, tmp_path, monkeypatch):
    plan, runs = batch.Plan(tiny, tmp_path), []
    (ana,) = batch.run(plan, _some()[:1])
    plan.path("ana").rename(tmp_path / "ana.json")
    whole = Sandbox.run

    def run(self, job, limits):
        runs.append(job)
        (tmp_path / "ana.json").exists() and (tmp_path / "ana.json").rename(plan.path("ana"))
        return whole(self, job, limits)

    monkeypatch.setattr(Sandbox, "run", run)
    graded = batch.run(plan, _some()[1::-1])  # bob first; meanwhile the other grader writes ana's record
    assert len(runs) == 2 and graded[1] == ana


def test_a_dask_worker_follows_the_exam_and_leaves_no_sandbox_behind(tiny, isolated, tmp_path):
    plan = batch.Plan(tiny, tmp_path)
    assert records.score(batch.grade_on_worker(plan, _some()[0], None)) == FULL
    first = batch._local.sandbox
    batch.grade_on_worker(plan, _some()[0], None)
    assert batch._local.sandbox is first
    process = first._place._process
    preload = ("numpy", "torch.nn.functional")
    other = replace(plan, assignment=replace(tiny, exam=replace(tiny.exam, preload=preload)))
    assert records.score(batch.grade_on_worker(other, _some()[0], None)) == FULL
    assert batch._local.sandbox.preload == preload and process.poll() is not None
    batch._local.sandbox.close()


@pytest.mark.slow
def test_a_task_that_kills_its_worker_is_one_row(tiny, isolated, tmp_path):
    distributed = pytest.importorskip("distributed")
    plan = batch.Plan(tiny, tmp_path)
    deadly = Deadly("eve", b"{}")
    with distributed.LocalCluster(1, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        graded = batch.run(plan, [deadly, *_some()[:1]], scheduler=cluster.scheduler_address)
    assert graded[0]["status"] == "grader error" and records.score(graded[1]) == FULL


def _die(here):
    if os.getpid() != here:
        os._exit(1)
    return Deadly("eve", b"{}")


@dataclass
class Deadly(Submission):
    """A worker that reads it from the network dies."""

    def __reduce__(self):
        return _die, (os.getpid(),)


def test_one_sandbox_per_submission_gives_the_same(tiny, isolated, tmp_path):
    """Where nested namespaces are forbidden each submission gets a bubblewrap of its own."""
    from rs_course.grading.grader import grade

    warm = batch.run(batch.Plan(tiny, tmp_path), _some()[1:2])[0]
    with Sandbox(preload=("numpy",), warm=False) as place:
        cold = grade(tiny, _some()[1].data, "bob", place)
        assert place._place.nested is False
    assert cold["questions"] == warm["questions"]


def test_plain_process_grades_too_and_says_so(tiny, tmp_path):
    plan = batch.Plan(tiny, tmp_path, isolation="process")
    graded = batch.run(plan, _some()[:2])
    assert [records.score(record) for record in graded] == [FULL, 6.0]
    assert {record["isolation"] for record in graded} == {"process"}


def test_without_bubblewrap_it_refuses(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"bwrap is not installed.*--isolation=process"):
        batch.run(batch.Plan(tiny, tmp_path), _some())
    with pytest.raises(ValueError, match="Isolation is"):
        batch.run(replace(batch.Plan(tiny, tmp_path), isolation="docker"), _some())


def test_reports(tiny, isolated, tmp_path):
    graded = batch.run(batch.Plan(tiny, tmp_path), _some())
    reports.write(tmp_path, tiny, graded, [], LatePolicy())
    lines = (tmp_path / "grades.csv").read_text().splitlines()
    assert lines[0] == (
        "assignment,duedate,timestamp,student_id,last_name,first_name,email,"
        "raw_score,late_submission_penalty,score,max_score"
    )
    assert lines[1] == "tiny,,,ana,,,,8.0,0.0,8.0,12.0"
    page = (tmp_path / "summary.html").read_text()
    assert "4 students" in page and "Not graded: 1" in page and "Waiting for points by hand: 1" in page
    assert "Scores: 0 to" in page and "you squared x" in page
    manual = tmp_path / "manual.csv"
    assert "ana,essay,,4.0," in manual.read_text()
    manual.write_text(manual.read_text().replace("ana,essay,,4.0,", "ana,essay,3.5,4.0,well argued"))
    reports.write(tmp_path, tiny, graded, [], LatePolicy())
    assert (tmp_path / "grades.csv").read_text().splitlines()[1].endswith("11.5,0.0,11.5,12.0")
    assert "well argued" in (tmp_path / "feedback" / "ana.html").read_text()
    assert "ana" not in (tmp_path / "leaderboard.html").read_text()
    page = (tmp_path / "feedback" / "bob.html").read_text()
    assert "you squared x" in page and "double.new" not in page and "double(x)" in page
    manual.write_text(manual.read_text().replace("3.5", "35"))
    with pytest.raises(ValueError, match="line 2: points go from 0 to"):
        gradebook.read_manual(manual)


_GRADE = "import sys; from rs_course.cli import main; sys.exit(main(sys.argv[1:]))"
# Runs in a mount namespace of its own, where it may mount a small disk.
_TWO_GRADERS = """
import json, os, shutil, signal, subprocess, sys, time
from pathlib import Path
out, copy, command = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
out.mkdir()
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1800k", "none", out], check=True)

def start():
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)

def stored():
    return {path.name: path.read_text() for path in out.rglob("records/*.json")}

first, second = start(), start()
while len(list(out.rglob("records/*.json"))) < 150:
    assert first.poll() is None and second.poll() is None, "one ended before it could be killed"
    time.sleep(0.2)
os.kill(first.pid, signal.SIGKILL)
_, said = second.communicate()
assert second.returncode != 0 and "No space left on device" in said, said[-500:]
before = stored()
assert 150 <= len(before) < 500, len(before)
assert all(json.loads(text)["status"] == "graded" for text in before.values())
subprocess.run(["mount", "-o", "remount,size=64m", out], check=True)
subprocess.run(command, check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
after = stored()
assert {name: after[name] for name in before} == before, "nothing is graded twice"
shutil.copytree(out, copy)
"""


def _write_class(folder, count):
    for number in range(count):
        place = folder / f"s{number:03d}" / "tiny"
        place.mkdir(parents=True)
        body = f"return {2 + (number % 5 == 0)} * x + {number % 7 == 0} * 0"
        answers = {"double": f"def double(x):\n    {body}  # {number}"}
        (place / "tiny.ipynb").write_bytes(as_bytes(notebook(answers)))
        (place / "timestamp.txt").write_text("2026-11-20 10:00:00 UTC")


@pytest.mark.slow
def test_five_hundred_with_two_graders_a_kill_and_a_full_disk(isolated, tmp_path):
    """Both at work in one folder; one is killed, then the disk is full: nothing is lost, nothing doubled."""
    alone = ["unshare", "--map-root-user", "--mount"]
    if subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("needs a mount namespace, for a small disk")
    (tmp_path / "release.ipynb").write_bytes(as_bytes(notebook({})))
    (tmp_path / "seed").write_text("secret")
    _write_class(tmp_path / "submitted", 500)
    command = [sys.executable, "-c", _GRADE, "grade", str(tmp_path / "submitted"), "--assignment", "tiny"]
    command += ["--release", str(tmp_path / "release.ipynb"), "--exam", str(TINY), "--workers", "2"]
    command += ["--seed-file", str(tmp_path / "seed"), "--out"]
    out, copy = tmp_path / "disk", tmp_path / "copy"
    driver = [sys.executable, "-c", _TWO_GRADERS, str(out), str(copy), *command, str(out)]
    done = subprocess.run([*alone, *driver], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    with (copy / "tiny" / "grades.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["student_id"] for row in rows] == [f"s{n:03d}" for n in range(500)]
    assert [row["raw_score"] for row in rows] == ["0.0" if n % 5 == 0 else "3.0" for n in range(500)]
    assert len(list((copy / "tiny" / "feedback").glob("*.html"))) == 500
    subprocess.run([*command, str(copy)], check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    with (copy / "tiny" / "grades.csv").open(newline="") as stream:
        assert list(csv.DictReader(stream)) == rows


def test_a_plan_that_no_worker_takes_fails_its_submissions_and_not_the_class(tiny, tmp_path, monkeypatch):
    def scatter(*_, **__):
        raise TimeoutError("no workers found")

    cluster = SimpleNamespace(client=SimpleNamespace(scatter=scatter))
    monkeypatch.setattr(batch.jobs, "runner", lambda scheduler: nullcontext(cluster))
    graded = batch.run(batch.Plan(tiny, tmp_path), _some()[:3], scheduler="tcp://nowhere:1")
    assert [record["student"] for record in graded] == ["ana", "bob", "cem"]
    assert {(record["status"], record["reason"]) for record in graded} == {
        ("grader error", "TimeoutError: no workers found")
    }
