"""Rosters, LMS zips with messy names, and archives that attack."""

import hashlib
import io
import json
import os
import struct
import unicodedata
import zipfile
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from rs_course.grading import handed_in, intake, policy, roster

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


@pytest.mark.parametrize(
    ("latest", "others"),
    [
        (
            "A3_asmith_attempt_2026-12-03-10-00-00_tiny.ipynb",
            ["A3_asmith_attempt_2026-12-01-09-00-00_tiny.ipynb", "A3_asmith_attempt_2026-12-03-10-00-00.txt"],
        ),
        (
            "Submitted files/Al Smith/tiny/Version 10/tiny.ipynb",
            ["Submitted files/Al Smith/tiny/Version 9/tiny.ipynb"],
        ),
        (
            "7-15 - Al Smith - Dec 10, 2026 900 AM/tiny.ipynb",
            ["7-15 - Al Smith - Dec 9, 2026 1000 AM/tiny.ipynb"],
        ),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_of_several_tries_the_systems_own_count_decides(tmp_path, latest, others, order):
    files = {latest: NOTEBOOK + b" "} | {o: b"Name" if o.endswith(".txt") else NOTEBOOK for o in others}
    found = intake.collect(_zip(dict([*files.items()][::order]), tmp_path / "lms.zip"), "tiny", CLASS)
    chosen = {s.student: s.source for s in found if isinstance(s.data, bytes)}
    assert chosen == {"s1005": latest} and not any(s.unassigned for s in found)


def test_strangers_in_one_folder_stay_apart(tmp_path):
    files = {f"export/submission_{n}/tiny.ipynb": NOTEBOOK for n in (11, 12)} | {"index.html": b"x"}
    found = intake.collect(_zip(files, tmp_path / "lms.zip"), "tiny", CLASS)
    assert [s.student for s in found if s.unassigned] == ["submission_11", "submission_12"]


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
    (member,) = handed_in.members(_zip({name: NOTEBOOK}))
    assert "leads out of the folder" in str(member.data)
    assert not list(tmp_path.rglob("evil*"))


def test_link_in_a_zip_is_refused():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        entry = zipfile.ZipInfo("s1001.ipynb")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, "/etc/passwd")
    (member,) = handed_in.members(stream.getvalue())
    assert "symbolic link" in str(member.data)


def test_bombs_are_refused():
    (member,) = handed_in.members(_zip({"s1001.ipynb": bytes(50 * 2**20)}))
    assert "bomb" in str(member.data)
    (member,) = handed_in.members(_zip({"s1001.ipynb": bytes(65 * 2**20)}))
    assert "65 MB" in str(member.data)
    nested = _zip({"a.zip": _zip({"b.zip": _zip({"c.zip": NOTEBOOK})})})
    assert [member.name for member in handed_in.members(nested)] == ["a.zip/b.zip"]
    many = _zip({f"{n}.ipynb": b"" for n in range(5001)})
    found = list(handed_in.members(_zip({"s1001.zip": many, "s1004.ipynb": NOTEBOOK})))
    assert "5001 files" in str(found[0].data) and found[1].data == NOTEBOOK


def test_lying_size_is_not_believed():
    data = bytearray(_zip({"s1001.ipynb": os.urandom(3000)}))
    where = data.rindex(b"PK\x01\x02")
    struct.pack_into("<I", data, where + 24, 10)  # uncompressed size in the directory
    (member,) = handed_in.members(bytes(data))
    assert isinstance(member.data, ValueError) or len(member.data) <= 3000


def test_damaged_zips(tmp_path):
    with pytest.raises(ValueError, match="cannot be opened"):
        list(handed_in.members(b"not a zip"))
    data = bytearray(_zip({"s1001.ipynb": NOTEBOOK}))
    data[60:90] = bytes(30)
    (member,) = handed_in.members(bytes(data))
    assert "damaged" in str(member.data)
    # One damaged zip in a folder of zips is one row, not the end.
    (tmp_path / "s1001.zip").write_bytes(b"PK broken")
    (tmp_path / "s1004.zip").write_bytes(_zip({"tiny.ipynb": NOTEBOOK}))
    found = {s.student: s for s in intake.collect(tmp_path, "tiny", CLASS)}
    assert isinstance(found["s1001"].data, ValueError) and found["s1004"].data == NOTEBOOK


def test_dates_of_an_export_are_no_times_of_handing_in(tmp_path):
    path = _zip(
        {"lina_LATE_4714_1_tiny.ipynb": NOTEBOOK, "mullerjurgen_4711_2_tiny.ipynb": NOTEBOOK},
        tmp_path / "l.zip",
    )
    found = {s.student: s for s in intake.collect(path, "tiny", CLASS)}
    assert (found["s1004"].timestamp, found["s1004"].late) == (None, True)
    assert (found["s1001"].timestamp, found["s1001"].late, found["s1001"].lms_judged) == (None, False, True)
    trusted = {s.student: s for s in intake.collect(path, "tiny", CLASS, trust_times=UTC)}
    assert trusted["s1001"].timestamp is None, "Canvas dates every file by the export"
    path = _zip({"s1001.ipynb": NOTEBOOK}, tmp_path / "own.zip")
    assert intake.collect(path, "tiny", CLASS)[0].timestamp is None
    own = intake.collect(path, "tiny", CLASS, trust_times=UTC)[0]
    assert own.timestamp == datetime(2026, 11, 20, 10, tzinfo=UTC)


def test_times_in_names_need_a_zone(tmp_path):
    name = "Tiny_asmith_attempt_2026-11-20-10-00-00_tiny.ipynb"
    path = _zip({name: NOTEBOOK}, tmp_path / "bb.zip")
    found = {s.student: s for s in intake.collect(path, "tiny", CLASS)}["s1005"]
    assert found.timestamp is None and "2026-11-20-10-00-00" in found.notes[0]
    zone = policy.time_zone("+02:00")
    found = {s.student: s for s in intake.collect(path, "tiny", CLASS, trust_times=zone)}["s1005"]
    assert found.timestamp == datetime(2026, 11, 20, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "known"), [(b"2026-11-20 10:00:00 CET", True), (b"20/11/2026", False), (b"", False)]
)
def test_timestamp_files(tmp_path, text, known):
    folder = tmp_path / "submitted" / "s1001" / "tiny"
    folder.mkdir(parents=True)
    (folder / "tiny.ipynb").write_bytes(NOTEBOOK)
    (folder / "timestamp.txt").write_bytes(text)
    found = intake.collect(tmp_path / "submitted", "tiny", CLASS)[0]
    assert (found.timestamp is not None) is known
    assert any("timestamp.txt" in note for note in found.notes) is not known


def test_a_students_own_timestamp_is_not_believed(tmp_path):
    stamp = b"2020-01-01 00:00:00 UTC"
    inner = _zip({"s1005/tiny/tiny.ipynb": NOTEBOOK, "s1005/tiny/timestamp.txt": stamp})
    files = {"smithal_4715_1_tiny.zip": inner}
    moodle = "Na Li_9_assignsubmission_file_"
    files |= {f"{moodle}/tiny/tiny.ipynb": NOTEBOOK, f"{moodle}/tiny/timestamp.txt": stamp}
    found = {s.student: s for s in intake.collect(_zip(files, tmp_path / "l.zip"), "tiny", CLASS)}
    assert found["s1005"].data == found["s1004"].data == NOTEBOOK
    assert found["s1005"].timestamp is found["s1004"].timestamp is None


@pytest.mark.parametrize(
    "name",
    [
        *("tiny.ipynb.json", "tiny.ipynb.txt", "tiny.IPYNB", "tiny.ipynb (1)", "tiny (1).ipynb", "tiny.json"),
        *("tiny", "tiny.txt", "a/b/c/tiny.ipynb", ".ipynb_checkpoints/tiny-checkpoint.ipynb"),
    ],
)
def test_names_that_browsers_give(tmp_path, name):
    path = _zip({f"Na Li_9_assignsubmission_file_/{name}": NOTEBOOK}, tmp_path / "l.zip")
    found = {s.student: s for s in intake.collect(path, "tiny", CLASS)}["s1004"]
    assert found.data == NOTEBOOK
    assert bool(found.notes) is ("checkpoint" in name)


@pytest.mark.parametrize(
    "clutter",
    [
        "._tiny.ipynb",
        ".ipynb_checkpoints/tiny-checkpoint.ipynb",
        "__MACOSX/._tiny.ipynb",
        "~$tiny.ipynb",
        "apple.ipynb",
    ],
)
@pytest.mark.parametrize("unpacked", [False, True])
def test_clutter_is_no_submission(tmp_path, clutter, unpacked):
    """In a zip and in a folder alike, whatever is newer; AppleDouble files are known by their first bytes."""
    data = b"\0\5\x16\7" + bytes(60) if "apple" in clutter or "._" in clutter else b'{"cells": []}'
    files = {"s1001/tiny.ipynb": NOTEBOOK, f"s1001/{clutter}": data}
    if unpacked:
        for number, (name, content) in enumerate(files.items()):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(content)
            os.utime(tmp_path / name, (1.7e9 + number, 1.7e9 + number))
    source = tmp_path if unpacked else _zip(files, tmp_path / "l.zip")
    assert intake.collect(source, "tiny", CLASS)[0].data == NOTEBOOK


@pytest.mark.parametrize("scratch", [as_bytes({"cells": []}), NOTEBOOK[:-9], b""])
def test_the_file_with_answers_counts_before_a_later_one_without(tmp_path, scratch):
    path = _zip(
        {"lina_4714_1_tiny.ipynb": NOTEBOOK, "lina_4714_2_scratch.ipynb": scratch}, tmp_path / "l.zip"
    )
    found = {s.student: s for s in intake.collect(path, "tiny", CLASS, answers=['"double"', "def double("])}
    assert found["s1004"].data == NOTEBOOK and "tiny.ipynb" in found["s1004"].notes[0]
    # A later upload has the greater number in Canvas, whatever its name.
    newer = NOTEBOOK + b" "
    path = _zip({"lina_4714_12_a.ipynb": newer, "lina_4714_9_b.ipynb": NOTEBOOK}, tmp_path / "m.zip")
    assert {s.student: s for s in intake.collect(path, "tiny", CLASS)}["s1004"].data == newer


@pytest.mark.parametrize("name", ["Jürgen Müller", "Thị Ánh Nguyễn"])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_utf8_names_without_the_flag(tmp_path, name, form):
    raw = unicodedata.normalize(form, name).encode()
    data = _zip({"#" * len(raw) + "_12_assignsubmission_file_/tiny.ipynb": NOTEBOOK})
    (tmp_path / "l.zip").write_bytes(data.replace(b"#" * len(raw), raw))
    found = [s for s in intake.collect(tmp_path / "l.zip", "tiny", CLASS) if isinstance(s.data, bytes)]
    assert [s.student for s in found] == ["s1001" if "M" in name else "s1002"]


def test_one_students_excess_costs_nobody_else(tmp_path, monkeypatch):
    files = {f"Al Smith_9_assignsubmission_file_/{n}.ipynb": NOTEBOOK for n in range(50)}
    big = _zip({f"{n}.ipynb": NOTEBOOK for n in range(50)})
    monkeypatch.setattr(handed_in, "MAX_STUDENT_BYTES", len(big) + 3 * len(NOTEBOOK))
    files |= {"María de la Cruz_7_assignsubmission_file_/all.zip": big}
    files |= {"Na Li_8_assignsubmission_file_/tiny.ipynb": NOTEBOOK}
    found = {s.student: s for s in intake.collect(_zip(files, tmp_path / "l.zip"), "tiny", CLASS)}
    assert all(found[s].data == NOTEBOOK for s in ("s1003", "s1004", "s1005"))
    listed = list(handed_in.members(tmp_path / "l.zip"))
    assert 3 < sum(isinstance(m.data, bytes) for m in listed) < 40
    assert all("MB were handed in" in str(m.data) for m in listed if not isinstance(m.data, bytes))


def test_unusual_compression_is_refused():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("s1001.ipynb", NOTEBOOK)
    (member,) = handed_in.members(stream.getvalue())
    assert "unusual method" in str(member.data)


def test_a_huge_manifest_is_not_parsed(tmp_path):
    path = _zip(
        {"s1001/tiny.ipynb": NOTEBOOK, "s1001/manifest.json": b"[" + b"[]," * 20_000 + b"[]]"},
        tmp_path / "l.zip",
    )
    assert "manifest cannot be read" in intake.collect(path, "tiny", CLASS)[0].notes[0]


def test_files_that_fit_nobody_are_assigned_by_hand(tmp_path):
    path = _zip({"kimmin_99_1_tiny.ipynb": NOTEBOOK}, tmp_path / "l.zip")
    found = intake.collect(path, "tiny", CLASS)
    assert found[-1].unassigned and found[-1].student == "kimmin_99"
    assert intake.write_unassigned(tmp_path / "u.csv", found) == 1
    text = (tmp_path / "u.csv").read_text()
    (tmp_path / "u.csv").write_text(text.replace("\r", "").rstrip("\n") + "s1001\n")
    assigned = intake.read_assigned(tmp_path / "u.csv")
    assert assigned == {"kimmin_99_1_tiny.ipynb": "s1001"}
    again = intake.collect(path, "tiny", CLASS, assigned=assigned)
    assert again[0].data == NOTEBOOK and len(again) == len(CLASS)
    assert intake.write_unassigned(tmp_path / "u.csv", again) == 0
    assert intake.read_assigned(tmp_path / "u.csv") == assigned
    with pytest.raises(ValueError, match="'s9'"):
        intake.collect(path, "tiny", CLASS, assigned={"kimmin_99_1_tiny.ipynb": "s9"})


def test_partners_share_what_one_of_them_handed_in(tmp_path):
    pair = [replace(student, team="red") for student in CLASS[:2]] + CLASS[2:]
    path = _zip({"s1002.ipynb": NOTEBOOK}, tmp_path / "l.zip")
    found = intake.collect(path, "tiny", pair)
    assert found[0].data == found[1].data == NOTEBOOK and isinstance(found[2].data, ValueError)
    assert "by s1002 for the team red" in found[0].notes[-1] and not found[1].notes


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
