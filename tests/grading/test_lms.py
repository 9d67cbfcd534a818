"""The import files of four LMSs, against their documented forms, and feedback in their upload layouts."""

import csv
import io
import json
import re
import zipfile

import pytest

from rs_course import files
from rs_course.cli import main
from rs_course.grading import lms, roster
from rs_course.grading.roster import Student

from .conftest import ANSWERS, FULL, PROSE, as_bytes, notebook
from .test_commands import course  # noqa: F401  (a fixture)

ANA = Student("s1", "Ây; Y", "Ana", "ana@uni.example", "1001")
BOB = Student("20067930", "Bee", 'Bob "B"', "bob@uni.example")
GRADES = [lms.Grade(ANA, 16.5), lms.Grade(BOB, 16 / 3)]


def _table(system, column="A3", delimiter=","):
    text = lms.SYSTEMS[system].table(GRADES, column, 26.0)
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))


def test_canvas_reads_the_header_and_finds_the_students():
    """The tests of canvas-lms' GradebookImporter: header?, update_column_count and process_student."""
    header, possible, ana, bob = _table("canvas", "A3 (98765)")
    assert "Student" in header[0] and "ID" in header[1] and len(header) > 3
    assert re.search(r"SIS\s+User\s+ID", header[2]) and re.search(r"SIS\s+Login\s+ID", header[3])
    assert "Section" in header[4]
    assert re.fullmatch(r"(.*) \((\d+)\)", header[5]).groups() == ("A3", "98765")
    assert "Points Possible" in possible[0] and possible[5] == "26.00"
    assert ana == ["Ây; Y, Ana", "1001", "s1", "s1", "", "16.50"]
    assert bob[1:4] == ["", "20067930", "20067930"] and bob[5] == "5.33"


def test_moodle_has_the_columns_of_its_export():
    header, ana, bob = _table("moodle", "Assignment: A3 (Real)")
    assert header == ["First name", "Last name", "ID number", "Email address", "Assignment: A3 (Real)"]
    assert ana == ["Ana", "Ây; Y", "s1", "ana@uni.example", "16.50"]
    assert bob == ['Bob "B"', "Bee", "20067930", "bob@uni.example", "5.33"]
    by_mail = lms.moodle([lms.Grade(Student("x@uni.example"), 1)], "A3", 2).splitlines()[1]
    assert by_mail == ",,,x@uni.example,1.00"


def test_blackboard_quotes_every_field_and_names_the_user():
    column = "A3 [Total Pts: 26 Score] |4711"
    text = lms.blackboard(GRADES, column, 26.0)
    assert all(re.fullmatch(r'"(?:[^"]|"")*"(?:,"(?:[^"]|"")*")*', line) for line in text.split("\r\n")[:-1])
    header, ana, bob = _table("blackboard", column)
    assert header == ["Last Name", "First Name", "Username", column]
    assert ana[2:] == ["s1", "16.50"] and bob[2:] == ["20067930", "5.33"]


def test_d2l_has_an_id_points_grade_and_the_end_of_line():
    header, ana, bob = _table("d2l", "A3")
    assert header == ["OrgDefinedId", "Username", "A3 Points Grade", "End-of-Line Indicator"]
    assert ana == ["", "s1", "16.50", "#"] and bob == ["20067930", "", "5.33", "#"]
    assert _table("d2l", "A3 Points Grade")[0][2] == "A3 Points Grade"


EXPORTS = {
    "canvas": (
        "Student,ID,SIS User ID,SIS Login ID,Section,A3 (7)\n    Points Possible,,,,,26\n"
        '"Ay, Ana",1001,,aay@uni.example,Mon,\n"Bee, Bob",1002,B7,bbee,Tue; Wed,\n',
        ["Ay, Ana,1001,,aay@uni.example,Mon,1.00", "Bee, Bob,1002,B7,bbee,Tue; Wed,1.00"],
    ),
    "moodle": (
        "First name;Last name;ID number;Email address\nAna;Ay;007;a@x\nBob;Bee;;b@x\n",
        ["Ana,Ay,007,a@x,1.00", "Bob,Bee,,b@x,1.00"],
    ),
    "blackboard": (
        '"Last Name","First Name","Username","Student ID"\n"Ay","Ana","aay","1"\n"Bee","Bob","bbee","2"\n',
        ["Ay,Ana,aay,1.00", "Bee,Bob,bbee,1.00"],
    ),
    "d2l": (
        "OrgDefinedId,Username,Last Name,End-of-Line Indicator\n#17,#ana.ay,Ay,#\n#18,#bob,Bee,#\n",
        ["17,ana.ay,1.00,#", "18,bob,1.00,#"],
    ),
}


@pytest.mark.parametrize("system", EXPORTS)
def test_a_roster_that_the_lms_exported_goes_back_with_its_own_ids(system, tmp_path):
    text, expected = EXPORTS[system]
    (tmp_path / "roster.csv").write_text(text, encoding="utf-8-sig")
    grades = [lms.Grade(student, 1.0) for student in roster.read(tmp_path / "roster.csv")]
    made = lms.SYSTEMS[system].table(grades, "A3", 26.0)
    lines = [",".join(row) for row in csv.reader(io.StringIO(made, newline=""))]
    assert lines[-2:] == expected


@pytest.mark.parametrize("system", lms.SYSTEMS)
def test_bytes_are_plain_utf8_and_names_are_no_formulas(system, tmp_path):
    evil = Student("s3", "=HYPERLINK(1)", "a;=1+1", "@x")
    rows = [{"student_id": "s3", "status": "unreadable", "score": 0.0, "max_score": 26.0}]
    (tmp_path / "feedback").mkdir()
    (tmp_path / "feedback" / "s3.html").write_text("page")
    lms.write(tmp_path, system, rows, [evil], title="A3")
    data = (tmp_path / f"{system}.csv").read_bytes()
    assert not data.startswith(b"\xef\xbb\xbf") and data.decode("utf-8").count("\r\n") >= 2
    cells = [part.lstrip(' "') for part in re.split("[,;\r\n]", data.decode())]
    assert not [text for text in cells if text[:1] in tuple("=+@")]


PAGE = "<!doctype html><p>3 of 4</p>"


@pytest.mark.parametrize(
    "source",
    ["ayana_1001_55_a3.ipynb", "ayana_LATE_1001_55_a3.ipynb", "all/ayana_1001_55_a3.ipynb"],
)
def test_canvas_gets_the_submitted_name_back(source):
    name, data = lms.canvas_place(lms.Grade(ANA, 1, source), PAGE)
    assert name == source.rpartition("/")[2]
    assert [part for part in name.split("_") if part.isdecimal()][:2] == ["1001", "55"]
    tree = json.loads(data)
    assert tree["cells"][0]["outputs"][0]["data"]["text/html"] == PAGE
    import nbformat

    nbformat.validate(nbformat.from_dict(tree))


@pytest.mark.parametrize(
    ("name", "begin"),
    [("a3.ipynb.json", b"{"), ("a3.html", PAGE.encode()), ("essay.pdf", None), ("figure.png", None)],
)
def test_canvas_shows_no_page_under_the_name_of_another_kind_of_file(name, begin):
    found = lms.canvas_place(lms.Grade(ANA, 0, f"ayana_1001_55_{name}"), PAGE)
    assert found is None if begin is None else found[1].startswith(begin)


def test_names_inside_a_students_zip_do_not_decide_whose_feedback_it_is():
    grade = lms.Grade(ANA, 1, "all/ayana_1001_55_a3.zip/bee_1002_66_a3.ipynb")
    name, data = lms.canvas_place(grade, PAGE)
    assert name == "ayana_1001_55_a3.zip"
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.read("feedback.html").decode() == PAGE
    assert lms.canvas_place(lms.Grade(ANA, 1, "a3.ipynb"), PAGE) is None


def test_moodle_gets_the_folder_of_its_download():
    """Four parts between underscores, the second a number: ``is_valid_filename_for_import``."""
    kept = "Ana Ay_31415_assignsubmission_file_"
    for source, number in (
        (f"{kept}/a3.ipynb", "31415"),
        (f"x/{kept}a3.ipynb", "31415"),
        ("a3.ipynb", "1001"),
    ):
        name, data = lms.moodle_place(lms.Grade(ANA, 1, source), PAGE)
        folder, _, last = name.partition("/")
        parts = folder.split("_", 4)
        assert parts[1:4] == [number, "assignsubmission", "file"] and last == "feedback.html"
        assert data.decode() == PAGE
    assert lms.moodle_place(lms.Grade(BOB, 1, "a3.ipynb"), PAGE) is None


def test_d2l_gets_the_folder_of_its_download():
    folder = "123-456 - Ana Ay - Nov 20, 2026 1000 AM"
    assert lms.d2l_place(lms.Grade(ANA, 1, f"{folder}/a3.ipynb"), PAGE)[0] == f"{folder}/feedback.html"
    assert lms.d2l_place(lms.Grade(ANA, 1, "a3.ipynb"), PAGE) is None


@pytest.mark.parametrize(
    ("system", "source", "names"),
    [
        ("canvas", "ayana_1001_55_a3.ipynb", ["ayana_1001_55_a3.ipynb"]),
        (
            "moodle",
            "Ana Ay_1001_assignsubmission_file/a3.ipynb",
            [f"{name}_assignsubmission_file/feedback.html" for name in ("Ana Ay_1001", "Cem Cee_1003")],
        ),
        ("d2l", "1001-9 - Ana Ay - Nov 20, 2026 1000 AM/a3.ipynb", None),
    ],
)
def test_a_team_shares_the_file_but_not_the_place_of_the_feedback(system, source, names, tmp_path):
    people = [
        Student(f"s{n}", *name, lms_id=f"100{n}") for n, name in ((1, ("Ay", "Ana")), (3, ("Cee", "Cem")))
    ]
    rows = [{"student_id": s.id, "status": "graded", "score": 1.0, "max_score": 2.0} for s in people]
    for student in people:
        files.write_text(tmp_path / "feedback" / f"{student.id}.html", f"page of {student.id}")
    sources = {student.id: source for student in people}
    said = lms.write(tmp_path, system, rows, people, title="A3", sources=sources)
    with zipfile.ZipFile(tmp_path / f"{system}_feedback.zip") as archive:
        found = archive.namelist()
        assert found == (names or [f"{source.partition('/')[0]}/feedback.html"])
        assert "page of s1" in archive.read(found[0]).decode()
    assert ("feedback/ yourself: 1" in " ".join(said)) is (len(found) == 1)


def test_from_the_canvas_zip_to_the_files_for_canvas(course, isolated, capsys):  # noqa: F811
    with zipfile.ZipFile("canvas.zip", "w") as archive:
        archive.writestr("ayana_1001_55_tiny.ipynb", as_bytes(notebook(ANSWERS)))
        archive.writestr("beebob_1002_56_tiny.ipynb", as_bytes(notebook(ANSWERS, PROSE)))
        archive.writestr("stranger_1009_57_tiny.ipynb", as_bytes(notebook(ANSWERS)))
    roster = "id,last_name,first_name,lms_id\ns1,Ay,Ana,1001\ns2,Bee,Bob,1002\ns3,Cee,Cem,1003\n"
    (course / "roster.csv").write_text(roster)
    command = ["grade", "canvas.zip", "--assignment", "tiny", "--roster", "roster.csv", "--csv", "canvas"]
    assert main([*command, "--column", "Tiny (7)"]) == 0
    out = capsys.readouterr().out
    assert "2 final grades" in out and "1 needs manual grading" in out and "not on the roster: 1" in out
    folder = course / "grades" / "tiny"
    lines = (folder / "canvas.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[-1] for line in lines] == ["Tiny (7)", "12.00", f"{FULL:.2f}", "0.00"]
    with zipfile.ZipFile(folder / "canvas_feedback.zip") as archive:
        assert archive.namelist() == ["ayana_1001_55_tiny.ipynb"]
        assert "Tiny assignment: s1" in archive.read("ayana_1001_55_tiny.ipynb").decode()
    first = (folder / "canvas_feedback.zip").read_bytes()
    assert main([*command, "--csv", "blackboard"]) == 0
    assert "hand out feedback/ yourself" in capsys.readouterr().out
    assert (folder / "canvas_feedback.zip").read_bytes() == first


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [(["--csv", "sakai"], "There is no format 'sakai'"), (["--csv", "canvas"], "needs --roster")],
)
def test_kind_errors_before_anything_is_graded(course, extra, sentence, capsys):  # noqa: F811
    (course / "inbox").mkdir()
    assert main(["grade", "inbox", "--assignment", "tiny", *extra]) == 1
    assert sentence in capsys.readouterr().err and not (course / "grades" / "tiny").exists()
