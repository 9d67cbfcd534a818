"""The class list: who should have a row, under which id, and in which team."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from rs_course.grading import spreadsheet

# Column names of Canvas, Moodle (in several languages), Blackboard, D2L and Sakai. The first column that a
# *row* has filled in counts.
_ID = (
    *("student id", "sis user id", "user id", "orgdefinedid", "org defined id", "id number", "idnumber"),
    *("matriculation number", "matrikelnummer", "id nummer", "numéro d'identification", "número de id"),
    *("sis login id", "login id", "login", "username", "user", "anmeldename", "benutzername"),
    *("nom d'utilisateur", "nombre de usuario", "nome utente", "gebruikersnaam"),
)
_EMAIL = (
    *("email", "e mail", "email address", "e mail address", "mail", "e mail adresse", "courriel"),
    *("adresse de courriel", "dirección de correo", "dirección de correo electrónico", "indirizzo email"),
    *("endereço de email", "e mailadres"),
)
_LAST = (
    *("last name", "surname", "family name", "lastname", "nachname", "familienname", "nom", "nom de famille"),
    *("apellido", "apellidos", "apellido(s)", "cognome", "sobrenome", "achternaam"),
)
_FIRST = (
    *("first name", "given name", "firstname", "vorname", "prénom", "nombre", "nome", "voornaam"),
    *("given names", "first names"),
)
_NAME = (
    *("name", "full name", "fullname", "student", "student name", "vollständiger name", "nom complet"),
    *("nombre completo", "nome completo", "volledige naam", "display name"),
)
_CANVAS, _MOODLE = ("canvas id", "canvas user id"), ("identifier", "participant", "moodle id", "kennung")
_NUMBER = ("lms id", *_CANVAS, *_MOODLE, "identifiant", "identificador", "identificatore")
_PARTICIPANT = re.compile(r"(?:part[ei]cipa\w*|teilnehm\w*\S*|deelnemer|deltag\w+|uczestnik)\s*(\d+)", re.I)
_TEAM, _PARTNER = ("team", "pair", "group name"), ("partner",)


@dataclass(frozen=True)
class Student:
    """One row of the roster.

    Attributes:
        id: What identifies the student in every table of grades.
        last_name: Family name.
        first_name: Given name.
        email: Address.
        lms_id: Number that the LMS puts into file names.
        lms: Whose number it is: ``"canvas"``, ``"moodle"``, or ``""`` where the roster does not say.
        aliases: Other ids in the same row, such as a login beside a student number.
        team: Name of the team that hands in together, or ``""``.
        row: The row as it was read, by column, for exports that need it back.
    """

    id: str
    last_name: str = ""
    first_name: str = ""
    email: str = ""
    lms_id: str = ""
    lms: str = ""
    aliases: tuple[str, ...] = ()
    team: str = ""
    row: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def name(self) -> str:
        """First and last name, or the id where there is none."""
        return f"{self.first_name} {self.last_name}".strip() or self.id


def read(path: str | Path) -> list[Student]:
    """Read a roster: a table with a column ``id`` (or ``email``), or what an LMS exports.

    Columns are found by name. Who has no student number is identified, row by row, by login, email address
    or the number of the LMS. Canvas's "Last, First" in one column works, and its rows that are no students
    (*Points Possible*, *Student, Test*) are left out.

    Raises:
        FileNotFoundError: No such file.
        ValueError: No column that identifies a student, an id twice, a person without any id, or nobody.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no roster {path}: give a CSV with the columns id, last_name, first_name, email."
        )
    table = spreadsheet.read(path)
    is_canvas = bool(table.columns("student") and table.columns("id"))
    if not table.columns("id", *_ID, *_EMAIL, *_NUMBER):
        raise ValueError(f"{path} has no column “id” (or “email”); its header is “{_short(table.header)}”.")
    students, partners = [], {}
    for line, row in table.rows:
        student = _student(table, row, is_canvas)
        if student is None:
            name = table.first(row, *_NAME, *_LAST)
            if name and not is_canvas:
                raise ValueError(f"{path}, line {line}: {name!r} has no id and no email address.")
            continue
        if re.fullmatch(r"\d[.,]\d+E\+?\d+", student.id, re.I):
            raise ValueError(
                f"{path}, line {line}: a spreadsheet has cut the id to {student.id!r}; export the roster "
                "again and do not save it in between."
            )
        if any(student.id == other.id for other in students):
            raise ValueError(f"{path} lists the id {student.id!r} twice.")
        students.append(student)
        if partner := table.first(row, *_PARTNER):
            partners[student.id] = (line, partner)
    if not students:
        raise ValueError(
            f"{path} lists nobody: the header “{_short(table.header)}” is followed by no student."
        )
    return _with_partners(path, students, partners)


def _short(header):
    return ", ".join(header)[:100]


def _student(table, row, is_canvas):
    """The student of one row, or ``None`` where nothing identifies one."""
    number_column, number = "", ""
    for column in (*table.columns(*_NUMBER), *(table.columns("id") if is_canvas else ())):
        if row[column]:
            number_column, number = spreadsheet.spelling(column), row[column]
            break
    plain = "" if is_canvas else table.first(row, "id")
    if found := _PARTICIPANT.fullmatch(plain):  # Moodle's worksheet in a language that calls this column ID
        plain, number, number_column = "", found.group(1), "participant"
    participant = _PARTICIPANT.fullmatch(number)
    number = participant.group(1) if participant else number
    lms = "canvas" if number and (is_canvas or number_column in _CANVAS) else ""
    lms = "moodle" if participant or number_column == "participant" else lms
    email = table.first(row, *_EMAIL)
    ids = [row[column] for column in table.columns(*_ID)]
    known = [_plain_id(value) for value in (*ids, plain, email, number) if value]
    if not known:
        return None
    last, first = table.first(row, *_LAST), table.first(row, *_FIRST)
    name = table.first(row, *_NAME)
    if is_canvas and name == "Student, Test" and re.fullmatch(r"[0-9a-f]{40}", known[0]):
        return None
    if name and not last:
        last, comma, first = name.partition(",")
        if not comma:
            first, _, last = name.rpartition(" ")
    others = tuple(dict.fromkeys(value for value in known[1:] if value not in (email, number)))
    team = table.first(row, *_TEAM)
    return Student(known[0], last.strip(), first.strip(), email, _plain_id(number), lms, others, team, row)


def _plain_id(value):
    """D2L writes ``#123``; a column with gaps that went through a table of numbers holds ``123.0``."""
    value = value.removeprefix("#")
    return value.removesuffix(".0") if re.fullmatch(r"\d+\.0", value) else value


def find(students: list[Student], text: str) -> Student | None:
    """The one student whose id, login, e-mail address, number in the LMS or name this is, else ``None``."""
    wanted = _plain_id(text).casefold()
    if exact := [s for s in students if s.id == text]:
        return exact[0]
    for names in (lambda s: (s.id,), lambda s: (s.email, s.lms_id, *s.aliases), lambda s: (s.name,)):
        fits = [s for s in students if wanted in (name.casefold() for name in names(s) if name)]
        if fits:
            return fits[0] if len(fits) == 1 else None
    return None


def id_columns(table: spreadsheet.Table) -> list[str]:
    """Columns of a table that may tell which student a row is about."""
    return table.columns("student_id", "id", *_ID, *_EMAIL, *_NUMBER)


def _with_partners(path, students, partners):
    """Make teams of the students that name a partner."""
    teams = {}
    for one, (line, named) in partners.items():
        if (fits := find(students, named)) is None:
            raise ValueError(f"{path}, line {line}: the partner {named!r} is not one student of this roster.")
        team = " and ".join(sorted({one, fits.id}))
        for member in (one, fits.id):
            if teams.setdefault(member, team) != team:
                raise ValueError(
                    f"{path}, line {line}: {member} has two partners; use a column “team” instead."
                )
    return [replace(s, team=teams.get(s.id, s.team)) for s in students]
