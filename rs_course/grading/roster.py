"""The class list, who should have a row, under which id, and in which team; and the tables that people bring.

Spreadsheets and learning systems save tables with any delimiter, encoding and spelling.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

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
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
_SEPARATOR_LINE = re.compile(r"sep=(.)\r?\n", re.I)


@dataclass(frozen=True)
class Student:
    """One row of the roster."""

    id: str  # what identifies the student in every table of grades
    last_name: str = ""
    first_name: str = ""
    email: str = ""
    lms_id: str = ""  # the number that the LMS puts into file names
    lms: str = ""  # whose number it is: "canvas", "moodle", or "" where the roster does not say
    aliases: tuple[str, ...] = ()  # other ids in the same row, such as a login beside a student number
    team: str = ""  # name of the team that hands in together
    # The row as it was read, by column, for exports that need it back.
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
    table = read_table(path)
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
            said = f"a spreadsheet has cut the id to {student.id!r}; export the roster again"
            raise ValueError(f"{path}, line {line}: {said} and do not save it in between.")
        if any(student.id == other.id for other in students):
            raise ValueError(f"{path} lists the id {student.id!r} twice.")
        students.append(student)
        if partner := table.first(row, *_PARTNER):
            partners[student.id] = (line, partner)
    if not students:
        header = _short(table.header)
        raise ValueError(f"{path} lists nobody: the header “{header}” is followed by no student.")
    return _with_partners(path, students, partners)


def _short(header):
    return ", ".join(header)[:100]


def _student(table, row, is_canvas):
    """The student of one row, or ``None`` where nothing identifies one."""
    number_column, number = "", ""
    for column in (*table.columns(*_NUMBER), *(table.columns("id") if is_canvas else ())):
        if row[column]:
            number_column, number = spelling(column), row[column]
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


def id_columns(table: Table) -> list[str]:
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
                said = f"{member} has two partners; use a column “team” instead"
                raise ValueError(f"{path}, line {line}: {said}.")
    return [replace(s, team=teams.get(s.id, s.team)) for s in students]


@dataclass(frozen=True)
class Table:
    """A table of text."""

    path: Path  # of its file, for messages
    header: list[str]  # names of the columns as they stand there
    rows: list[tuple[int, dict[str, str]]]  # number of the line where each row ends, and its cells by column

    def columns(self, *names: str) -> list[str]:
        """The columns that have one of these names, in the order of the names; spelling does not matter."""
        known = {}
        for column in self.header:
            known.setdefault(spelling(column), column)
        return list(dict.fromkeys(known[key] for name in names if (key := spelling(name)) in known))

    def first(self, row: dict[str, str], *names: str) -> str:
        """What a row says in the first of these columns that it has filled in, else ``""``."""
        return next((row[column] for column in self.columns(*names) if row[column]), "")


def read_table(path: str | Path) -> Table:
    """Read a table: comma, semicolon or tab; UTF-8, UTF-16 or Windows-1252; with or without byte order mark.

    Cells lose surrounding space and the signs by which spreadsheets keep text from becoming a number or a
    formula (``'001``, ``="001"``). Rows without any text are left out.

    Raises:
        ValueError: A workbook instead of text, a row with more cells than the header, a quotation mark that
            is never closed (it would swallow the rows below it), or a cell that is too long.
    """
    path = Path(path)
    raw = path.read_bytes()
    if raw[:4] in _WORKBOOKS:
        raise ValueError(f"{path} is a workbook: save it as CSV and give that file.")
    text = decode(raw)
    separator = _SEPARATOR_LINE.match(text)
    text = text[separator.end() :] if separator else text.lstrip("\r\n")
    first = re.sub(r'"[^"]*"', "", text.splitlines()[0]) if text.strip() else ""
    delimiter = separator.group(1) if separator else max(",;\t", key=first.count)
    _check_quotes(path, text, delimiter)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    header, rows = [], []
    for cells in reader:
        cells = [plain_cell(cell) for cell in cells]
        if not any(cells):
            continue
        if not header:
            header = cells
            continue
        if any(cells[len(header) :]):
            what = f"put text that contains the delimiter {delimiter!r} in quotation marks"
            raise ValueError(f"{path}, line {reader.line_num} has more cells than the header: {what}.")
        cells += [""] * (len(header) - len(cells))
        row: dict[str, str] = {}
        for name, cell in zip(header, cells, strict=False):
            row.setdefault(name, cell)
        rows.append((reader.line_num, row))
    return Table(path, header, rows)


def _check_quotes(path, text, delimiter):
    """Refuse a table whose last quoted cell runs to the end of the file."""
    reader, last = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True), 0
    try:
        for _ in reader:
            last = reader.line_num
    except csv.Error as error:
        # Of what else is not strict, such as text behind a closing quotation mark, the meaning is clear.
        if "end of data" in str(error) or "field limit" in str(error):
            why = "a quotation mark is never closed, or a cell is too long; correct that row"
            raise ValueError(f"{path}, line {last + 1}: {why}.") from None


def decode(raw: bytes) -> str:
    """Text of a file that says nothing of its encoding, or says it by a byte order mark."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16", errors="replace")
    if raw[1:2] == b"\0" and raw[:1] != b"\0":
        return raw.decode("utf-16-le", errors="replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace")


def plain_cell(cell: str) -> str:
    """A cell without space around it and without the signs that protect it in a spreadsheet."""
    cell = cell.replace("\u00a0", " ").strip()
    if found := re.fullmatch(r'="(.*)"', cell):
        return found.group(1).strip()
    return cell[1:] if cell[:1] == "'" and cell[1:2] in ("=", "+", "-", "@", *"0123456789") else cell


def spelling(name: str) -> str:
    """A column's name without capitals, underscores and hyphens: ``"Last_Name"`` is ``"last name"``."""
    return re.sub(r"[\s_-]+", " ", name.strip().casefold())
