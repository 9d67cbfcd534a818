"""Rosters and times as systems export them."""

from datetime import UTC, datetime

import pytest

from rs_course.grading import policy, roster


def _read(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "roster.csv"
    path.write_bytes(text.encode(encoding))
    return roster.read(path)


CANVAS = (
    "Student,ID,SIS User ID,SIS Login ID,Section,Warm-up (1)\n"
    "    Points Possible,,,,,10\n"
    '"Berg, Anna",11,s1,anna@uni.example,S1,\n'
    '"Lee, Bob",12,,bob@uni.example,S1,\n'
    '"Cee, Cem",13,,,S1,\n'
    '"Student, Test",14,,' + "ab" * 20 + ",S1,\n"
)


def test_canvas_identifies_row_by_row(tmp_path):
    people = _read(tmp_path, CANVAS)
    assert [(s.id, s.lms_id, s.lms) for s in people] == [
        ("s1", "11", "canvas"),
        ("bob@uni.example", "12", "canvas"),
        ("13", "13", "canvas"),
    ]
    assert people[0].aliases == ("anna@uni.example",) and people[0].row["Section"] == "S1"
    assert (people[1].last_name, people[1].first_name) == ("Lee", "Bob")


@pytest.mark.parametrize(
    "text",
    [
        "Identifier,Full name,Email address\nParticipant 4001,Min Kim,min@x\n",
        "Identifiant;Nom complet;Adresse de courriel\nParticipant 4001;Min Kim;min@x\n",
        "ID,Vollständiger Name,E-Mail-Adresse\nTeilnehmer/in 4001,Min Kim,min@x\n",
        "Identificador,Nombre completo,Dirección de correo\nParticipante 4001,Min Kim,min@x\n",
    ],
)
def test_moodle_worksheets(tmp_path, text):
    (student,) = _read(tmp_path, text)
    assert (student.id, student.lms_id, student.lms) == ("min@x", "4001", "moodle")
    assert (student.first_name, student.last_name) == ("Min", "Kim")


@pytest.mark.parametrize(
    ("text", "student_id"),
    [
        ("Vorname,Nachname,ID-Nummer,E-Mail-Adresse\nMin,Kim,s1,min@x\n", "s1"),
        ("First name,Surname,Email address,Groups\nMin,Kim,min@x,Tuesday\n", "min@x"),
        ('"Last Name","First Name","Username","Student ID"\n"Kim","Min","mkim","00123"\n', "00123"),
        ("OrgDefinedId,Username,Last Name,First Name,End-of-Line Indicator\n#123,#mkim,Kim,Min,#\n", "123"),
        ("sep=;\nid;last_name;first_name\ns1;Kim;Min\n", "s1"),
        ("\n\nid\tlast name\tfirst name\ns1\tKim\tMin\n\n", "s1"),
        ('id,last_name,first_name\n="00123",Kim,Min\n', "00123"),
        ("id,last_name,first_name\n4711.0,Kim,Min\n", "4711"),
        ("id,last_name,first_name,,\ns1,Kim,Min,,\n", "s1"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_other_exports(tmp_path, text, student_id, encoding):
    (student,) = _read(tmp_path, text, encoding)
    assert (student.id, student.last_name, student.first_name) == (student_id, "Kim", "Min")
    assert student.team == ""


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("id,last_name\n", "lists nobody"),
        ("Student,ID,SIS User ID\n    Points Possible,,\n", "lists nobody"),
        ("id,last_name,email\ns1,Ay,\n,Bee,\n", "line 3: 'Bee' has no id"),
        ("id,last_name\n1.23E+08,Ay\n", "cut the id"),
        ("id,last_name\ns1,Ay,Ana\n", "more cells than the header"),
        ("id,last_name,partner\ns1,Ay,s9\n", "partner 's9'"),
        ("PK\x03\x04", "workbook"),
    ],
)
def test_rosters_that_are_none(tmp_path, text, sentence):
    with pytest.raises(ValueError, match=sentence):
        _read(tmp_path, text)


def test_partners_are_a_team(tmp_path):
    people = _read(tmp_path, "id,email,partner\ns1,a@x,b@x\ns2,b@x,s1\ns3,c@x,\n")
    assert [s.team for s in people] == ["s1 and s2", "s1 and s2", ""]


@pytest.mark.parametrize(
    ("text", "hour"),
    [
        ("2026-12-05 10:00:00.123456 UTC", 10),
        ("2026-12-05 10:00:00 CET", 9),
        ("2026-12-05 10:00:00 EST", 15),
        ("2026-12-05 10:00:00 +0530", 4),
        ("2026-12-05T10:00:00+01:00", 9),
        ("2026-12-05T10:00Z", 10),
        ("2026-12-05 10:00:00 Europe/Berlin", 9),
        ("2026-07-05 10:00:00 Europe/Berlin", 8),
        ("2026-12-05 10:00:00 UTC+01:00", 9),
        ("2026-12-05 10:00:00\n", 10),
    ],
)
def test_times(text, hour):
    found = policy.parse_time(text)
    assert found.tzinfo is UTC and (found.day, found.hour) == (5, hour)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-12-05 10:00 CST",
        "2026-12-05 10:00 XYZ",
        "0001-01-01 00:00 +1400",
        "2026-13-01 10:00",
    ],
)
def test_times_that_would_be_guesses(text):
    with pytest.raises(ValueError):
        policy.parse_time(text)


@pytest.mark.parametrize(
    "text",
    ["2026-11-20-10-00-00", "Nov 20, 2026 1000 AM", "20 November, 2026 1000 AM", "November 20, 2026 1000 AM"],
)
def test_times_in_names(text):
    assert policy.local_time(text) == datetime(2026, 11, 20, 10)
    assert policy.local_time("last week") is None


def test_a_spreadsheets_protection_is_taken_off():
    assert [roster.plain_cell(c) for c in ("'001", "'=x", "O'Neil", "'tis", '="007"', " a\u00a0")] == [
        *("001", "=x", "O'Neil", "'tis", "007", "a")
    ]
