"""Due dates, late penalties, extensions and late days; and times as learning systems write them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from rs_course.files import write_text
from rs_course.grading import roster

if TYPE_CHECKING:
    from rs_course.grading.intake import Submission
    from rs_course.grading.roster import Student

# Hours ahead of UTC. What names several zones (CST, IST, BST, ...) is left out: it would be a guess.
_ZONES = {
    **dict.fromkeys(("UTC", "GMT", "Z", "WET"), 0.0),
    **dict.fromkeys(("CET", "MET", "WEST"), 1.0),
    **dict.fromkeys(("CEST", "MEST", "EET", "SAST"), 2.0),
    **dict.fromkeys(("EEST", "MSK"), 3.0),
    **{"PKT": 5.0, "HKT": 8.0, "JST": 9.0, "KST": 9.0, "ACST": 9.5, "AEST": 10.0, "AEDT": 11.0},
    **{"AWST": 8.0, "NZST": 12.0, "NZDT": 13.0, "NST": -3.5, "NDT": -2.5, "EST": -5.0, "EDT": -4.0},
    **{"CDT": -5.0, "MDT": -6.0, "PST": -8.0, "PDT": -7.0, "AKST": -9.0, "AKDT": -8.0, "HST": -10.0},
}
_LOCAL = ("%Y-%m-%d-%H-%M-%S", "%b %d, %Y %I%M %p", "%B %d, %Y %I%M %p")
_LOCAL += ("%d %B, %Y %I%M %p", "%d %b, %Y %I%M %p")
_LEDGER = "late_days.csv"
_DUE = ("due", "due_date", "duedate")


@dataclass(frozen=True)
class Extension:
    """What one student was granted."""

    due: datetime | None = None  # a due date of the student's own, or ``None``
    days: float = 0.0  # days added to the due date
    handed_in: datetime | None = None  # when it was handed in, where an export does not say so
    reason: str = ""  # for the record


@dataclass(frozen=True)
class Lateness:
    """What being late costs one submission."""

    lost: float = 0.0  # points
    days: int = 0  # begun days after the student's due date
    late_days: int = 0  # of these, days paid from the pool
    notes: tuple[str, ...] = ()  # sentences for the student and the record


@dataclass(frozen=True)
class LatePolicy:
    """How much a late submission loses."""

    due: datetime | None = None  # when it was due, or ``None`` for no penalty
    per_day: float = 0.0  # fraction of the *reached* score that each begun day costs
    grace: timedelta = timedelta(0)  # time after ``due`` that costs nothing
    most: float = 1.0  # largest fraction that can be lost
    extensions: Mapping[str, Extension] = field(default_factory=dict)  # student id → what was granted
    pool: int = 0  # late days of each student for the whole course, which cost nothing
    # Student id → late days that earlier assignments have taken from the pool
    spent: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def parse(cls, due: str | None, late: str | None, grace_minutes: float = 0.0) -> LatePolicy:
        """From the command line: ``due`` as ``2026-12-01T23:59+01:00``, or a date, which lasts until its end;
        ``late`` as ``10%/day`` or ``10%/day,50%``.

        Raises:
            ValueError: Either cannot be read.
        """
        moment = _moment(due, "The due date", UTC) if due else None
        if not late:
            return cls(moment, 0.0, timedelta(minutes=grace_minutes))
        found = re.fullmatch(r"\s*([\d.]+)\s*%\s*/\s*day\s*(?:,\s*([\d.]+)\s*%\s*)?", late)
        if not found:
            raise ValueError(
                f"The late policy {late!r} is not like 10%/day or 10%/day,50% (at most half is lost)."
            )
        if moment is None:
            raise ValueError("A late policy needs --due.")
        most = float(found.group(2) or 100) / 100
        return cls(moment, float(found.group(1)) / 100, timedelta(minutes=grace_minutes), most)

    def lateness(
        self, student: str, score: float, handed_in: datetime | None, marked_late: bool = False
    ) -> Lateness:
        """What one submission loses; late days of the pool are used first.

        ``marked_late`` (by the LMS) counts as one day where the time is unknown. A doubtful time costs
        nothing, and is said.
        """
        granted = self.extensions.get(student, Extension())
        handed_in = granted.handed_in or handed_in
        if self.due is None or not self.per_day:
            return Lateness()
        own = (granted.due or self.due) + timedelta(days=granted.days)
        extended, notes = own != self.due, []
        if extended:
            notes.append(f"Your due date was {own:%Y-%m-%d %H:%M} (UTC{own:%z}), as agreed.")
        if handed_in is not None:
            # A part of a day counts as a day; the division of timedeltas is exact.
            days = max(0, -(-(handed_in - own - self.grace) // timedelta(days=1)))
        elif marked_late and extended:
            days = 0
            notes.append("It is marked as late, perhaps by the old due date: nothing was taken off.")
        else:
            days = int(marked_late)
            if days:
                notes.append("It is marked as late, without a time: this counts as one day.")
        left = max(0, self.pool - self.spent.get(student, 0))
        paid = min(days, left)
        lost = round(score * min(self.per_day * (days - paid), self.most), 6)
        if days and handed_in is not None:
            notes.append(f"{days} day{'s' * (days != 1)} late.")
        if paid:
            notes.append(f"Late days used: {paid}; {left - paid} of {self.pool} left.")
        return Lateness(lost, days, paid, tuple(notes))

    def doubt(self, submission: Submission) -> str:
        """A sentence where lateness costs something and nothing says when this was handed in, else ``""``."""
        granted = self.extensions.get(submission.student, Extension()).handed_in
        known = submission.timestamp or submission.late or submission.lms_judged or granted
        if not self.per_day or known or not isinstance(submission.data, bytes):
            return ""
        return "It is not known when this was handed in: nothing was taken off for being late."


def _moment(text, what, zone):
    """A moment; without a zone of its own it is in this one, and a date alone lasts until its end."""
    text = text.strip()
    try:
        moment = datetime.fromisoformat(text)
        if re.fullmatch(r"[\dW-]+", text):
            moment = moment.replace(hour=23, minute=59, second=59)
    except ValueError:
        try:
            moment = parse_time(text)
        except ValueError:
            raise ValueError(f"{what} {text!r} is not like 2026-12-01T23:59+01:00.") from None
    if not 1970 <= moment.year <= 2200:  # Far from both ends of the calendar, where days cannot be added
        raise ValueError(f"{what} {text!r} is not between 1970 and 2200.")
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)


def read_extensions(
    path: str | Path, assignment: str, students: list[Student], zone: tzinfo = UTC
) -> dict[str, Extension]:
    """Extensions of one assignment: a table with ``student_id`` and ``due``, ``days`` or ``handed_in``.

    A student may be named by any id that the roster has: number, login, e-mail address, number of the LMS.
    Rows of another ``assignment`` are skipped; where that column is empty or missing a row is for all.
    Moments without a zone, as a spreadsheet writes them, are in ``zone``.

    Raises:
        FileNotFoundError: No such file.
        ValueError: An unknown student, a date or number that cannot be read, a student twice, or no column
            that grants anything.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no table of extensions {path}.")
    table = roster.read_table(path)
    if not (ids := roster.id_columns(table)):
        raise ValueError(f"{path} has no column “student_id”.")
    if not table.columns(*_DUE, "days", "handed_in"):
        raise ValueError(f"{path} grants nothing: it needs a column “due”, “days” or “handed_in”.")
    found: dict[str, Extension] = {}
    for line, row in table.rows:
        known = (("assignment",), _DUE, ("days",), ("handed_in",), ("reason", "comment"))
        for_, due, days, when, reason = (table.first(row, *names) for names in known)
        given = [row[column] for column in ids if row[column]]
        if for_ not in ("", assignment):
            continue
        where = f"{path}, line {line}:"
        if not given:
            raise ValueError(f"{where} it names no student.")
        identity = given[0]
        if students:
            if (student := next(filter(None, (roster.find(students, text) for text in given)), None)) is None:
                raise ValueError(f"{where} {identity!r} is not one student of the roster.")
            identity = student.id
        if identity in found:
            raise ValueError(f"{where} {identity!r} has two extensions; keep one.")
        try:
            number = float(days.replace(",", ".") or 0)
            if not -1000 < number < 1000:
                raise ValueError
        except ValueError:
            raise ValueError(f"{where} days must be a number, not {days!r}.") from None
        found[identity] = Extension(
            _moment(due, f"{where} the due date", zone) if due else None,
            number,
            _moment(when, f"{where} the time", zone) if when else None,
            reason,
        )
    return found


def spent_late_days(out: Path, assignment: str, due: datetime | None) -> dict[str, int]:
    """Late days that assignments with an earlier due date have taken, from their ledgers in ``OUT/NAME``."""
    spent: dict[str, int] = {}
    for path in sorted(out.glob(f"*/{_LEDGER}")):
        if path.parent.name == assignment or due is None:
            continue
        for _, row in roster.read_table(path).rows:
            if datetime.fromisoformat(row["duedate"]) < due:
                spent[row["student_id"]] = spent.get(row["student_id"], 0) + int(row["late_days"])
    return spent


def write_late_days(folder: Path, rows: list[dict]) -> None:
    """Write which late days this assignment has taken, from the rows of the grade table."""
    from rs_course.grading.gradebook import csv_text

    taken = [row for row in rows if row["late_days"]]
    if taken or (folder / _LEDGER).is_file():
        header = ["student_id", "duedate", "days_late", "late_days"]
        write_text(folder / _LEDGER, csv_text(header, taken))


def parse_time(text: str) -> datetime:
    """A moment such as ``2026-12-05 10:00:00.123456 CET``, ``… +0100``, ``… Europe/Berlin`` or ``…Z``.

    Without a zone it is UTC, as nbgrader writes it.

    Raises:
        ValueError: It is no date, or its zone is unknown or ambiguous.
    """
    text = text.strip()
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?)\s*(.*)", text)
    if not found:
        raise ValueError(f"{text[:60]!r} is not a time like 2026-12-01 23:59:00 UTC")
    moment = datetime.fromisoformat(found[1].replace(",", "."))
    try:
        return moment.replace(tzinfo=time_zone(found[2] or "UTC")).astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text[:60]!r} is outside the calendar") from None


def time_zone(name: str) -> tzinfo:
    """A time zone by offset (``+01:00``), unambiguous abbreviation (``CET``) or name (``Europe/Berlin``).

    Raises:
        ValueError: There is no such zone, or it has several meanings.
    """
    if found := re.fullmatch(r"(?:UTC|GMT)?([+-])(\d\d?):?(\d\d)?", name):
        offset = timedelta(hours=int(found[2]), minutes=int(found[3] or 0))
        if offset < timedelta(hours=24):
            return timezone(-offset if found[1] == "-" else offset)
    if (hours := _ZONES.get(name.upper())) is not None:
        return timezone(timedelta(hours=hours), name.upper())
    try:
        if "/" in name:
            return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        pass
    raise ValueError(f"the time zone {name[:40]!r} is unknown, or several are called so")


def local_time(text: str) -> datetime | None:
    """The time without a zone that Blackboard or D2L puts into a name, or ``None`` if it cannot be read."""
    for form in _LOCAL:
        try:
            return datetime.strptime(text.strip(), form)
        except ValueError:
            continue
    return None
