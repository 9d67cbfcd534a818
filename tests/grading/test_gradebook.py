"""Points by hand as spreadsheets save them, late days, extensions, and the log of what changed."""

import csv
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from rs_course.grading import gradebook, policy, records, reports
from rs_course.grading.intake import Submission
from rs_course.grading.roster import Student

DUE = "2026-12-01T12:00+00:00"
MOMENT = datetime(2026, 12, 1, 12, tzinfo=UTC)


def record(student, score=None, **changed):
    checks = [{"name": "c", "public": True, "points": 4.0, "score": 2.0, "message": ""}]
    question = {
        "question": "code",
        "points": 4.0,
        "score": 2.0,
        "message": "",
        "output": "",
        "checks": checks,
    }
    prose = {"question": "essay", "points": 4.0, "score": score, "comment": "", "answer": "Because."}
    made = {
        **{"student": student, "assignment": "tiny", "status": "graded", "reason": "", "notes": []},
        **{"questions": [question], "manual": [prose], "answers": {}, "leaderboard": None, "key": "k"},
        **{"submission_sha256": "ab" * 32, "seed_sha256": "cd" * 32, "isolation": "bubblewrap"},
        **{"versions": {"engine": "1"}, "timestamp": "", "late_flag": False},
    }
    return made | changed


CLASS = [record("007"), record("bob"), record("=cem")]


@pytest.fixture
def manual(tmp_path):
    gradebook.write_manual(tmp_path / "manual.csv", CLASS)
    return tmp_path / "manual.csv"


def _fill(path, points="3.5", comment="well; argued", student="bob"):
    with path.open(newline="", encoding="utf-8") as stream:
        table = list(csv.DictReader(stream))
    row = next(row for row in table if row["student_id"].strip("'") == student)
    row |= {"points": points, "comment": comment}
    return table


def _save(path, table, delimiter=",", encoding="utf-8", header=None):
    with path.open("w", newline="", encoding=encoding) as stream:
        writer = csv.writer(stream, delimiter=delimiter)
        writer.writerow(header or table[0].keys())
        writer.writerows(row.values() for row in table)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize("points", ["3.5", "3,5"])
def test_what_spreadsheets_save_is_read_and_kept(manual, delimiter, encoding, points):
    header = ["Student ID", "Question", "Points", "Max points", "Comment", "By", "Why"]
    _save(manual, _fill(manual, points, "Größe"), delimiter, encoding, header)
    gradebook.write_manual(manual, CLASS)
    assert gradebook.read_manual(manual) == {("bob", "essay"): (3.5, "Größe")}
    assert len(manual.read_text().splitlines()) == 4
    assert manual.with_suffix(".backup.csv").is_file()


def test_ids_that_a_spreadsheet_has_changed(manual):
    table = _fill(manual, student="007")
    table[0]["student_id"] = "7"
    _save(manual, table)
    gradebook.write_manual(manual, CLASS)
    assert gradebook.read_manual(manual) == {("007", "essay"): (3.5, "well; argued")}


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        ("student_id", "bo", "no 'essay' of a student 'bo'"),
        ("question", "esay", "no 'esay' of a student 'bob'"),
        ("points", "4.5", "points go from 0 to 4.0, not '4.5'"),
        ("points", "nan", "not 'nan'"),
        ("points", "good", "not 'good'"),
        ("max_points", "", "bob has 9 of 4 points"),
    ],
)
def test_rows_that_cannot_be_are_refused_by_name(manual, column, value, sentence):
    table = _fill(manual)
    row = next(row for row in table if row["student_id"] == "bob")
    row[column] = value
    if column == "max_points":
        row["points"] = "9"
    _save(manual, table)
    before = manual.read_bytes()
    with pytest.raises(ValueError, match=sentence):
        gradebook.write_manual(manual, CLASS)
    assert manual.read_bytes() == before


def test_a_quotation_mark_that_is_never_closed_swallows_no_row(manual):
    manual.write_text('student_id,question,points,comment\n007,essay,2,"well\nbob,essay,3,\n')
    before = manual.read_bytes()
    with pytest.raises(ValueError, match="line 2: a quotation mark is never closed"):
        gradebook.write_manual(manual, CLASS)
    assert manual.read_bytes() == before


def test_minus_zero_is_no_points(manual):
    _save(manual, _fill(manual, "-0"))
    assert str(gradebook.read_manual(manual)["bob", "essay"][0]) == "0.0"


def test_missing_columns_and_contradictions(manual):
    manual.write_text("who,points\nbob,3\n")
    with pytest.raises(ValueError, match="no column “student_id”"):
        gradebook.write_manual(manual, CLASS)
    manual.write_text("student_id,question,points\nbob,essay,3\nbob,essay,4\n")
    with pytest.raises(ValueError, match="line 3: essay of bob stands there twice"):
        gradebook.write_manual(manual, CLASS)
    manual.write_text("student_id,question,points,Points\nbob,essay,,3\n")
    with pytest.raises(ValueError, match="two columns “points”: keep the one that counts"):
        gradebook.write_manual(manual, CLASS)
    assert manual.read_text().endswith(",3\n"), "nothing is lost"


def test_marks_of_students_who_are_not_in_this_run_stay(manual):
    for one in CLASS:
        records.write(manual.parent / "records" / f"{records.file_name(one['student'])}.json", one)
    _save(manual, _fill(manual))
    gradebook.write_manual(manual, [record("late")])
    assert gradebook.read_manual(manual) == {("bob", "essay"): (3.5, "well; argued")}
    assert "late,essay" in manual.read_text()


def test_a_row_replaces_automatic_points(manual):
    manual.write_text(manual.read_text() + "bob,code,4,4.0,the check was wrong,ann,regrade request\n")
    gradebook.write_manual(manual, CLASS)
    given = gradebook.read_manual(manual)
    graded = gradebook.apply_manual(CLASS, given)
    assert [records.score(one) for one in graded] == [2.0, 4.0, 2.0]
    page = reports.feedback(graded[1], "Tiny")
    assert "set by hand, the checks gave 2. the check was wrong" in page
    assert CLASS[1]["questions"][0]["score"] == 2.0
    assert "regrade request" in manual.read_text()


def test_the_log_says_who_changed_what_and_why(manual):
    folder, rule = manual.parent, policy.LatePolicy()

    def run(graded):
        gradebook.write_manual(manual, graded)
        table = gradebook.rows(gradebook.apply_manual(graded, gradebook.read_manual(manual)), [], rule)
        changed = gradebook.log_changes(folder, table, gradebook.read_rows(manual))
        gradebook.write_csv(folder / "grades_by_question.csv", table)
        return changed

    assert run(CLASS) == 0 and run(CLASS) == 0 and not (folder / "changes.csv").is_file()
    text = manual.read_text().replace("bob,essay,,4.0,,,", "bob,essay,3.5,4.0,good,ann,first marking")
    manual.write_text(text + "bob,code,4,4.0,,ann,the check was wrong\n")
    assert run(CLASS) == 2
    again = [
        record("007", questions=[{**CLASS[0]["questions"][0], "score": 4.0}], submission_sha256="ef" * 32)
    ]
    assert run(again + CLASS[1:]) == 1
    with (folder / "changes.csv").open(newline="") as stream:
        rows = [[row[name] for name in gradebook.CHANGES[1:]] for row in csv.DictReader(stream)]
    assert rows == [
        ["ann", "bob", "code", "2.0", "4.0", "the check was wrong"],
        ["ann", "bob", "essay", "", "3.5", "first marking"],
        ["grader", "007", "code", "2.0", "4.0", "another submission"],
    ]


def _rule(**changed):
    return replace(policy.LatePolicy.parse(DUE, "10%/day"), **changed)


def test_extensions_move_the_due_date():
    granted = {
        "due": policy.Extension(due=MOMENT + timedelta(days=3)),
        "days": policy.Extension(days=2),
        "time": policy.Extension(handed_in=MOMENT - timedelta(hours=1)),
    }
    rule = _rule(extensions=granted)
    when = MOMENT + timedelta(days=2, hours=12)
    assert [rule.lateness(who, 10, when).lost for who in ("due", "days", "time", "other")] == [0, 1, 0, 3]
    assert "2026-12-03 12:00 (UTC+0000), as agreed" in rule.lateness("days", 10, when).notes[0]
    assert (
        rule.lateness("days", 10, None, True).lost == 0 and rule.lateness("other", 10, None, True).lost == 1
    )


def test_late_days_are_used_before_points_are_lost():
    rule = _rule(pool=4, spent={"ana": 3})
    when = MOMENT + timedelta(days=2, hours=1)
    fresh, used = rule.lateness("bob", 10, when), rule.lateness("ana", 10, when)
    assert (fresh.days, fresh.late_days, fresh.lost) == (3, 3, 0)
    assert (used.days, used.late_days, used.lost) == (3, 1, 2)
    assert "Late days used: 1; 0 of 4 left." in used.notes


def test_the_pool_counts_over_assignments_with_earlier_due_dates(tmp_path):
    for name, due, days in (("a1", "2026-11-01T12:00+00:00", 2), ("a3", "2026-12-24T12:00+00:00", 1)):
        rows = [{"student_id": "ana", "duedate": due, "days_late": days, "late_days": days}]
        rows.append({**rows[0], "student_id": "bob", "late_days": 0})
        policy.write_late_days(tmp_path / name, rows)
    assert policy.spent_late_days(tmp_path, "a2", MOMENT) == {"ana": 2}
    assert policy.spent_late_days(tmp_path, "a1", MOMENT) == {}


def test_the_table_of_extensions(tmp_path):
    path = tmp_path / "extensions.csv"
    path.write_text(
        "student_id;assignment;due;days;handed_in;reason\n"
        "ana;tiny;2026-12-05 12:00 CET;;;ill\n"
        "bob;;;1,5;;\n"
        "cem;other;;9;;\n"
        "dia;tiny;;;2026-12-01T10:00+01:00;export without times\n"
    )
    found = policy.read_extensions(path, "tiny", [*map(Student, ("ana", "bob", "cem", "dia"))])
    assert found == {
        "ana": policy.Extension(due=datetime(2026, 12, 5, 11, tzinfo=UTC), reason="ill"),
        "bob": policy.Extension(days=1.5),
        "dia": policy.Extension(
            handed_in=datetime(2026, 12, 1, 9, tzinfo=UTC), reason="export without times"
        ),
    }
    for text, sentence in (
        ("student_id,days\nzoe,1\n", "line 2: 'zoe' is not one student of the roster"),
        ("student_id,days\nana,1\nana,2\n", "line 3: 'ana' has two extensions"),
        ("student_id,days\nana,two\n", "days must be a number"),
        ("student_id,due\nana,soon\n", "the due date 'soon' is not like"),
        ("student_id,due,days\nana,9999-12-31,999\n", "'9999-12-31' is not between 1970 and 2200"),
        ("student_id,extra days\nana,3\n", "grants nothing: it needs a column “due”"),
        ("who\nana\n", "no column “student_id”"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=sentence):
            policy.read_extensions(path, "tiny", [Student("ana")])


def test_an_extension_names_a_student_by_any_id_of_the_roster(tmp_path):
    ana = Student("007", "Lee", "Ana", "ana@uni.example", "4711", "canvas", ("alee",))
    people = [ana, Student("alee2", "Lee", "Ben"), Student("b", "Lee", "Cem", "c@x")]
    path = tmp_path / "extensions.csv"
    for header, named in (
        ("student_id", "007"),
        ("student_id", "alee"),
        ("SIS User ID,SIS Login ID", ",alee"),
        ("Canvas ID", "4711"),
        ("E-Mail", "ANA@uni.example"),
        ("id", "4711.0"),
    ):
        path.write_text(f"{header},days\n{named},2\n")
        assert policy.read_extensions(path, "tiny", people) == {"007": policy.Extension(days=2.0)}, named
    for text, sentence in (
        ("student_id,days\n007,2\nalee,3\n", "has two extensions"),
        ("student_id,days\n711,2\n", "'711' is not one student"),
        ("student_id,days\n,2\n", "it names no student"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=sentence):
            policy.read_extensions(path, "tiny", people)


def test_a_date_alone_lasts_until_its_end_in_the_zone_of_the_due_date(tmp_path):
    due = policy.LatePolicy.parse("2026-12-01", "10%/day").due
    assert due == datetime(2026, 12, 1, 23, 59, 59, tzinfo=UTC)
    path, zone = tmp_path / "extensions.csv", timezone(timedelta(hours=-8))
    path.write_text("student_id,due\nana,2026-12-08\nbob,2026-12-08 18:00\n")
    found = policy.read_extensions(path, "tiny", [Student("ana"), Student("bob")], zone)
    assert found["ana"].due == datetime(2026, 12, 8, 23, 59, 59, tzinfo=zone)
    assert found["bob"].due == datetime(2026, 12, 8, 18, tzinfo=zone)


def test_an_unknown_time_is_said_where_it_matters():
    sent = Submission("ana", b"x")
    assert "not known" in _rule().doubt(sent)
    assert policy.LatePolicy().doubt(sent) == ""
    for known in ({"timestamp": MOMENT}, {"late": True}, {"lms_judged": True}, {"data": ValueError("none")}):
        assert _rule().doubt(replace(sent, **known)) == ""


def test_what_waits_is_provisional():
    waiting, done = record("ana"), record("bob", 3.0)
    none = record("cem", 0.0, status="unreadable", reason="nothing was handed in", submission_sha256=None)
    page = reports.feedback(waiting, "Tiny", late="1 day late.")
    assert "provisional, 4 points wait for marking" in page and "1 day late." in page
    assert "provisional" not in reports.feedback(done, "Tiny")
    graded = [waiting, record("dia"), none]
    table = gradebook.rows(graded, [], policy.LatePolicy())
    page = reports.summary("Tiny", table, graded, [])
    assert "provisional: 2 wait for marks" in page
    assert '<td>essay</td><td class="n">– (2 waiting)</td>' in page
    graded.append(done)
    page = reports.summary("Tiny", gradebook.rows(graded, [], policy.LatePolicy()), graded, [])
    assert '<td>essay</td><td class="n">3.00 (2 waiting)</td>' in page


def test_files_that_fit_nobody_come_first_and_count_for_nobody():
    people = [Student("ana", "Ay", "Ana")]
    graded = [record("ana", 3.0), record("stranger", 3.0, notes=["The file 'x' fits nobody on the roster."])]
    table = gradebook.rows(graded, people, policy.LatePolicy())
    assert [row["status"] for row in table] == ["graded", "unassigned"]
    page = reports.summary("Tiny", table, graded, [])
    assert "1 students" in page and page.index("Files that fit nobody: 1") < page.index("1 students")
    assert "fits nobody on the roster" in page
