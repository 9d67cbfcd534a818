"""Hostile and broken submissions are contained, get a fair row with a reason, and change no other grade."""

import json
import re
from pathlib import Path

import pytest

from rs_course.grading import batch, records, reports
from rs_course.grading.intake import Submission

from .conftest import ANSWERS, FULL, PROSE, as_bytes, notebook
from .hostile import ATTACKS, HARMLESS

# The limits, which are the same for everyone.
FIXED_NUMBERS = re.compile(r"after [\d.]+ s|\d+ (threads|files)")


def _class():
    """The attackers with an honest student after every tenth of them."""
    made = []
    for number, (name, (submission, _, _)) in enumerate(ATTACKS.items()):
        data = submission if isinstance(submission, bytes) else as_bytes(submission)
        made.append(Submission(name, data))
        if number % 10 == 9:
            made.append(Submission(f"honest_{number}", as_bytes(notebook(ANSWERS, PROSE))))
    return made


@pytest.fixture(scope="module")
def graded(tiny, isolated, tmp_path_factory):
    folder = tmp_path_factory.mktemp("class")
    before = {path: path.read_bytes() for path in Path(__file__).parent.glob("*.py")}
    plan = batch.Plan(tiny, folder)
    found = {record["student"]: record for record in batch.run(plan, _class(), workers=2)}
    assert {path: path.read_bytes() for path in Path(__file__).parent.glob("*.py")} == before
    return found


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_is_contained(graded, name, tiny):
    _, points, words = ATTACKS[name]
    record = graded[name]
    assert record["status"] in ("graded", "unreadable")
    assert records.score(record) == points
    said = [record["reason"], *record["notes"]]
    for question in record["questions"]:
        said += [question["message"], *(check["message"] for check in question["checks"])]
    assert any(word in "\n".join(said) for word in words.split("|"))
    if points < FULL:
        assert any(said), "lost points need a reason"
    page = reports.feedback(record, "Tiny")
    hidden = next(e for e in tiny.checks if e.check.name == "double.new").inputs["x"]
    assert str(hidden)[:7] not in page.replace("_", ".")
    for question in record["questions"]:
        for check in question["checks"]:
            if not check["public"] and check["message"] not in (*tiny.sentences, record["reason"]):
                assert not set("0123456789[]") & set(FIXED_NUMBERS.sub("", check["message"]))


def test_the_same_would_earn_full_marks_without_isolation(tiny, tmp_path):
    """The control: it is containment that these attacks lose their points to."""
    plan = batch.Plan(tiny, tmp_path, isolation="process")
    made = [Submission(name, as_bytes(ATTACKS[name][0])) for name in HARMLESS]
    scores = {record["student"]: records.score(record) for record in batch.run(plan, made)}
    assert scores == dict.fromkeys(HARMLESS, FULL)


def test_classmates_keep_their_grades(graded):
    honest = [record for name, record in graded.items() if name.startswith("honest_")]
    assert len(honest) >= 8
    assert {records.score(record) for record in honest} == {FULL}
    assert len({json.dumps(record["questions"]) for record in honest}) == 1


def test_nothing_ran_in_the_grader():
    assert not Path("/tmp/pickled").exists()
    assert not Path("/usr/lib/evil").exists()
