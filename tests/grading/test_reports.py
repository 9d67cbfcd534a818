"""Late penalties, tables and pages that cannot be turned against their reader."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from rs_course.grading import gradebook, reports
from rs_course.grading.policy import LatePolicy
from rs_course.grading.reports import histogram

DUE = "2026-12-01T12:00+00:00"
MOMENT = datetime(2026, 12, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("hours", "lost"), [(-1, 0), (0, 0), (0.4, 0), (0.6, 1), (24.4, 1), (25, 2), (200, 5), (10_000, 5)]
)
def test_late_by_begun_days_after_the_grace(hours, lost):
    policy = LatePolicy.parse(DUE, "10%/day,50%", grace_minutes=30)
    assert policy.lateness("", 10.0, MOMENT + timedelta(hours=hours)).lost == lost


def test_late_without_a_time():
    policy = LatePolicy.parse(DUE, "10%/day")
    assert policy.lateness("", 10.0, None).lost == 0
    assert policy.lateness("", 10.0, None, marked_late=True).lost == 1
    assert policy.lateness("", 10.0, MOMENT + timedelta(days=99)).lost == 10
    assert LatePolicy.parse(DUE, None).lateness("", 10.0, MOMENT + timedelta(days=99)).lost == 0


@pytest.mark.parametrize(
    ("due", "late", "sentence"),
    [("tomorrow", None, "not like"), (DUE, "ten per day", "not like"), (None, "10%/day", "needs --due")],
)
def test_late_errors(due, late, sentence):
    with pytest.raises(ValueError, match=sentence):
        LatePolicy.parse(due, late)


def _full_record(**changes):
    record = {
        "student": "<script>alert(1)</script>",
        "assignment": "tiny",
        "reason": "<img src=x onerror=alert(1)>",
        "notes": ["<b>note</b>"],
        "questions": [
            {
                "question": "double",
                "points": 2.0,
                "score": 1.0,
                "message": "</pre><script>alert(2)</script>",
                "output": "</pre><script>alert(3)</script>",
                "checks": [
                    {
                        "name": "double.secret",
                        "public": False,
                        "points": 1,
                        "score": 0,
                        "message": "too small",
                    },
                    {"name": "double.example", "public": True, "points": 1, "score": 1, "message": ""},
                ],
            }
        ],
        "manual": [],
        "answers": {"double": "x = '</pre><script>alert(4)</script>'"},
        "leaderboard": None,
        "submission_sha256": "ab" * 32,
        "seed_sha256": "cd" * 32,
        "isolation": "bubblewrap",
        "versions": {"engine": "1"},
        "status": "graded",
    }
    return record | changes


def test_feedback_escapes_everything_and_hides_hidden_checks():
    page = reports.feedback(_full_record(), "Tiny")
    assert "<script" not in page and "<img" not in page and "<b>" not in page
    assert "default-src 'none'" in page
    assert "double.secret" not in page and "double.example" in page and "too small" in page


def test_formulas_do_not_reach_a_spreadsheet(tmp_path):
    row = dict.fromkeys(gradebook.HEADER, 1) | {"student_id": "=HYPERLINK(1)", "last_name": "O'Neil"}
    gradebook.write_csv(tmp_path / "g.csv", [row])
    assert "'=HYPERLINK" in (tmp_path / "g.csv").read_text()


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1", "@SUM(A1)", "a;=1+1", "a\t=1+1", "a\n=1+1", "a\r@x", " =1+1", "a; =1", "＝1+1"],
)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_no_cell_begins_like_a_formula_however_a_spreadsheet_splits_it(text, delimiter):
    """Read as a program set to another delimiter would: quotes inside a field do not protect then."""
    assert gradebook.unescape_formula(gradebook.escape_formula(text)) == text
    line = gradebook.csv_text(["id", "name"], [{"id": "x", "name": text}]).split("\n", 1)[1]
    parts = re.split(rf"[{delimiter}\r\n]", line)
    assert not [part for part in parts if part.lstrip(' "')[:1] in tuple("=+-@＝")]


def test_plain_text_stays_as_it_is():
    for text in ("O'Neil; Ana", "two-thirds", "a = b", "1; 2", -2.5, None):
        assert gradebook.escape_formula(text) == ("" if text is None else text)


def test_histogram_counts():
    page = histogram([0, 1, 5, 10, 10], 10, "Scores", bins=10)
    assert "Scores: 0 to 1: 1, 1 to 2: 1, 5 to 6: 1, 9 to 10: 2" in page


def test_leaderboard_ranks_under_aliases():
    values = {"ana": 0.5, "bob": 0.9, "cem": 0.9, "dia": None, "eve": float("inf"), "fay": float("nan")}
    board = [_full_record(student=name, leaderboard=value) for name, value in values.items()]
    page = reports.leaderboard("Tiny", "accuracy", board)
    rows = re.findall(r"<tr>(.*?)</tr>", page.partition("<tbody")[2] or page)
    cells = [re.findall(r">([^<]+)</td>", row) for row in rows if "</td>" in row]
    assert [(rank, value) for rank, _, value in cells] == [("1", "0.900"), ("1", "0.900"), ("3", "0.500")]
    assert {alias for _, alias, _ in cells} == {
        reports.alias(name, "cd" * 32) for name in ("ana", "bob", "cem")
    }
    assert "3 entries" in page and not re.search(r"\b(ana|bob|cem|dia)\b", page)


def test_alias_needs_the_seed():
    assert reports.alias("ana", "a") == reports.alias("ana", "a") != reports.alias("ana", "b")
