"""The class list: who should have a row, and whose a file is."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

_COLUMNS = {
    # A bare "id" comes last: in Canvas's export it is Canvas's own number, beside the student's.
    "id": (
        *(
            "student_id",
            "student id",
            "sis user id",
            "sis login id",
            "login",
            "username",
            "user",
            "id number",
        ),
        "id",
    ),
    "last_name": ("last_name", "last name", "surname", "family name", "lastname"),
    "first_name": ("first_name", "first name", "given name", "firstname"),
    "email": ("email", "e-mail", "email address", "mail"),
    "lms_id": ("lms_id", "canvas_id", "canvas id", "moodle_id", "participant", "identifier", "id"),
    "name": ("name", "full name", "student", "student name"),
}


@dataclass(frozen=True)
class Student:
    """One row of the roster."""

    id: str
    last_name: str = ""
    first_name: str = ""
    email: str = ""
    lms_id: str = ""


def read(path: str | Path) -> list[Student]:
    """Read a roster CSV; comma, semicolon or tab, UTF-8 or what spreadsheets write.

    Columns are found by name: a student id (or email), names, email, and the number that the LMS puts into
    file names. Canvas's "Last, First" in one column works too.

    Raises:
        FileNotFoundError: No such file.
        ValueError: No column that identifies a student, or an id twice.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no roster {path}: give a CSV with the columns id, last_name, first_name, email."
        )
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("cp1252", errors="replace")
    first = text.splitlines()[0] if text.strip() else ""
    delimiter = max(",;\t", key=first.count)
    rows = csv.DictReader(io.StringIO(text), delimiter=delimiter)
    found = {field: _column(rows.fieldnames or [], names) for field, names in _COLUMNS.items()}
    if found["id"] is None and found["email"] is None:
        raise ValueError(f"{path} has no column “id” (or “email”); its first line is “{first[:100]}”.")
    students = [student for row in rows if (student := _student(row, found)) is not None]
    seen = set()
    for student in students:
        if student.id in seen:
            raise ValueError(f"{path} lists the id {student.id!r} twice.")
        seen.add(student.id)
    return students


def _column(header, names):
    plain = {name.strip().lower(): name for name in header if name}
    return next((plain[name] for name in names if name in plain), None)


def _student(row, found):
    value = {field: (row.get(column) or "").strip() if column else "" for field, column in found.items()}
    identity = value["id"] or value["email"]
    if not identity:
        return None
    if value["name"] and not value["last_name"]:
        last, comma, first = value["name"].partition(",")
        if not comma:
            first, _, last = value["name"].rpartition(" ")
        value["last_name"], value["first_name"] = last.strip(), first.strip()
    return Student(identity, value["last_name"], value["first_name"], value["email"], value["lms_id"])


class Matcher:
    """Finds the student whose name, id or number is part of a file name."""

    def __init__(self, students: list[Student]):
        self._students = students
        self._keys: list[tuple[str, Student]] = []
        for student in students:
            keys = {student.id, student.lms_id, student.email, student.email.partition("@")[0]}
            keys |= {student.last_name + student.first_name, student.first_name + student.last_name}
            self._keys += [(plain(key), student) for key in keys if len(plain(key)) >= 2]
        self._keys.sort(key=lambda pair: -len(pair[0]))

    def find(self, name: str) -> Student | None:
        """The student of a path in an archive or folder, or ``None`` if none or several fit equally well.

        Whole parts of the name count before fragments, and long keys before short ones.
        """
        parts = [part for part in re.split(r"[/_\s.()\[\]-]+", name) if part]
        whole = {plain(part) for part in parts} | {plain(piece) for piece in re.split(r"[/_]", name)}
        for fits in (lambda key: key in whole, lambda key: len(key) >= 5 and key in plain(name)):
            found = [(key, student) for key, student in self._keys if fits(key)]
            if found:
                longest = {student.id for key, student in found if len(key) == len(found[0][0])}
                return found[0][1] if len(longest) == 1 else None
        return None


def plain(text: str) -> str:
    """Letters and digits only, lower case, without accents: how an LMS squeezes names into file names."""
    text = unicodedata.normalize("NFKD", text).casefold()
    return "".join(letter for letter in text if letter.isalnum())
