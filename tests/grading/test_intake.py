"""Rosters, LMS zips with messy names, and archives that attack."""

import hashlib
import io
import json
import os
import struct
import zipfile
from datetime import UTC, datetime

import pytest

from rs_course.grading import archives, intake, roster

from .conftest import ANSWERS, as_bytes, notebook

NOTEBOOK = as_bytes(notebook(ANSWERS))
CLASS = [
    roster.Student("s1001", "Müller", "Jürgen", "jmueller@uni.example", "4711"),
    roster.Student("s1002", "Nguyễn", "Thị Ánh", "anh@uni.example", "4712"),
    roster.Student("s1003", "de la Cruz", "María", "mdelacruz@uni.example", "4713"),
    roster.Student("s1004", "Li", "Na", "nali@uni.example", "4714"),
    roster.Student("s1005", "Smith", "Al", "asmith@uni.example", "4715"),
]


def _zip(files, path=None):
    target = path or io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 11, 20, 10, 0, 0)), data, zipfile.ZIP_DEFLATED)
    return path or target.getvalue()


@pytest.mark.parametrize(
    ("name", "student"),
    [
        ("mullerjurgen_4711_99001_tiny.ipynb", "s1001"),  # Canvas
        ("lina_LATE_4714_99002_tiny-1.ipynb", "s1004"),  # Canvas, late, second try
        ("Jürgen Müller_120001_assignsubmission_file_/tiny.ipynb", "s1001"),  # Moodle, folders
        ("Thị Ánh Nguyễn_120002_assignsubmission_file_tiny.ipynb", "s1002"),  # Moodle, flat
        ("s1003.ipynb", "s1003"),
        ("tiny_s1003_final (2).ipynb", "s1003"),
        ("María de la Cruz/Tiny FINAL final.ipynb", "s1003"),
        ("mdelacruz@uni.example_tiny.ipynb", "s1003"),
        ("submissions/asmith/tiny.ipynb", "s1005"),
        ("unknown_person_tiny.ipynb", "unknown_person"),
    ],
)
def test_messy_names_find_their_student(tmp_path, name, student):
    found = intake.collect(_zip({name: NOTEBOOK}, tmp_path / "lms.zip"), "tiny", CLASS)
    chosen = [s for s in found if isinstance(s.data, bytes)]
    assert [s.student for s in chosen] == [student]
    assert chosen[0].late is ("LATE" in name)
    assert len(found) == len(CLASS) + (student == "unknown_person")


def test_two_files_for_one_student_take_the_latest(tmp_path):
    newer = NOTEBOOK + b" "
    path = tmp_path / "lms.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo("lina_4714_1_tiny-1.ipynb", (2026, 11, 21, 0, 0, 0)), newer)
        archive.writestr(zipfile.ZipInfo("lina_4714_1_tiny.ipynb", (2026, 11, 20, 0, 0, 0)), NOTEBOOK)
    found = {s.student: s for s in intake.collect(path, "tiny", CLASS)}["s1004"]
    assert found.data == newer and "2 files" in found.notes[0]


def test_nbgrader_layout_with_timestamps(tmp_path):
    folder = tmp_path / "submitted" / "s1001" / "tiny"
    folder.mkdir(parents=True)
    (folder / "tiny.ipynb").write_bytes(NOTEBOOK)
    (folder / "timestamp.txt").write_text("2026-11-20 10:00:00 UTC")
    (tmp_path / "submitted" / "s1002" / "tiny").mkdir(parents=True)
    found = {s.student: s for s in intake.collect(tmp_path / "submitted", "tiny", CLASS)}
    assert found["s1001"].timestamp == datetime(2026, 11, 20, 10, tzinfo=UTC)
    assert "no notebook" in str(found["s1002"].data) and "nothing" in str(found["s1003"].data)


def test_links_are_not_followed(tmp_path):
    secret = tmp_path / "solution.ipynb"
    secret.write_bytes(NOTEBOOK)
    folder = tmp_path / "submitted" / "s1001" / "tiny"
    folder.mkdir(parents=True)
    os.symlink(secret, folder / "tiny.ipynb")
    os.symlink(tmp_path, tmp_path / "submitted" / "s1002")
    found = {s.student: s for s in intake.collect(tmp_path / "submitted", "tiny", CLASS)}
    assert "symbolic link" in str(found["s1001"].data) and isinstance(found["s1002"].data, ValueError)


def test_submit_zip_inside_the_lms_zip_and_its_manifest(tmp_path):
    manifest = json.dumps({"sha256": hashlib.sha256(NOTEBOOK).hexdigest()})
    good = _zip({"tiny.ipynb": NOTEBOOK, "manifest.json": manifest})
    changed = _zip({"tiny.ipynb": NOTEBOOK + b"\n", "manifest.json": manifest})
    path = _zip({"lina_4714_1_tiny.zip": good, "smithal_4715_2_tiny.zip": changed}, tmp_path / "lms.zip")
    found = {s.student: s for s in intake.collect(path, "tiny", CLASS)}
    assert found["s1004"].data == NOTEBOOK and not found["s1004"].notes
    assert "manifest" in found["s1005"].notes[0]


def test_other_files_get_a_reason(tmp_path):
    path = _zip({"lina_4714_1_report.pdf": b"%PDF", "__MACOSX/x/._tiny.ipynb": b"x"}, tmp_path / "lms.zip")
    found = {s.student: s for s in intake.collect(path, "tiny", CLASS)}
    assert "report.pdf" in str(found["s1004"].data) and len(found) == len(CLASS)


@pytest.mark.parametrize(
    "name", ["../../evil.ipynb", "/etc/evil.ipynb", "C:/evil.ipynb", "a/..\\..\\evil.ipynb"]
)
def test_zip_slip_is_refused(tmp_path, name):
    (member,) = archives.members(_zip({name: NOTEBOOK}))
    assert "leads out of the folder" in str(member.data)
    assert not list(tmp_path.rglob("evil*"))


def test_link_in_a_zip_is_refused():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        entry = zipfile.ZipInfo("s1001.ipynb")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, "/etc/passwd")
    (member,) = archives.members(stream.getvalue())
    assert "symbolic link" in str(member.data)


def test_bombs_are_refused():
    (member,) = archives.members(_zip({"s1001.ipynb": bytes(50 * 2**20)}))
    assert "bomb" in str(member.data)
    (member,) = archives.members(_zip({"s1001.ipynb": bytes(65 * 2**20)}))
    assert "65 MB" in str(member.data)
    nested = _zip({"a.zip": _zip({"b.zip": _zip({"c.zip": NOTEBOOK})})})
    assert [member.name for member in archives.members(nested)] == ["a.zip/b.zip"]
    many = _zip({f"{n}.ipynb": b"" for n in range(5001)})
    found = list(archives.members(_zip({"s1001.zip": many, "s1004.ipynb": NOTEBOOK})))
    assert "5001 files" in str(found[0].data) and found[1].data == NOTEBOOK


def test_lying_size_is_not_believed():
    data = bytearray(_zip({"s1001.ipynb": os.urandom(3000)}))
    where = data.rindex(b"PK\x01\x02")
    struct.pack_into("<I", data, where + 24, 10)  # uncompressed size in the directory
    (member,) = archives.members(bytes(data))
    assert isinstance(member.data, ValueError) or len(member.data) <= 3000


def test_damaged_zips(tmp_path):
    with pytest.raises(ValueError, match="cannot be opened"):
        list(archives.members(b"not a zip"))
    data = bytearray(_zip({"s1001.ipynb": NOTEBOOK}))
    data[60:90] = bytes(30)
    (member,) = archives.members(bytes(data))
    assert "damaged" in str(member.data)
    # One damaged zip in a folder of zips is one row, not the end.
    (tmp_path / "s1001.zip").write_bytes(b"PK broken")
    (tmp_path / "s1004.zip").write_bytes(_zip({"tiny.ipynb": NOTEBOOK}))
    found = {s.student: s for s in intake.collect(tmp_path, "tiny", CLASS)}
    assert isinstance(found["s1001"].data, ValueError) and found["s1004"].data == NOTEBOOK


@pytest.mark.parametrize(
    "text",
    [
        "id,last_name,first_name,email\ns1,Müller,Jürgen,j@x\n",
        "Student ID;Surname;First name;Email address\ns1;Müller;Jürgen;j@x\n",
        'Student,ID,SIS User ID,SIS Login ID\nPoints Possible,,,\n"Müller, Jürgen",4711,s1,j@x\n',
        "username\tname\ns1\tJürgen Müller\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
def test_rosters(tmp_path, text, encoding):
    path = tmp_path / "roster.csv"
    path.write_bytes(text.encode(encoding))
    (student,) = roster.read(path)
    assert (student.id, student.last_name, student.first_name) == ("s1", "Müller", "Jürgen")


def test_roster_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="columns id"):
        roster.read(tmp_path / "none.csv")
    (tmp_path / "a.csv").write_text("colour\nred\n")
    with pytest.raises(ValueError, match="no column “id”"):
        roster.read(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("id\ns1\ns1\n")
    with pytest.raises(ValueError, match="twice"):
        roster.read(tmp_path / "b.csv")
