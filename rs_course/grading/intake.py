"""Collect submissions: nbgrader's folder layout, a folder of files, or the zip that an LMS exports."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, tzinfo
from pathlib import Path

from rs_course.grading import gradebook, handed_in, policy, roster
from rs_course.grading.handed_in import Owners, read_name
from rs_course.grading.notebooks import MAX_BYTES
from rs_course.grading.roster import Student

MANIFEST, _TIMESTAMP = "manifest.json", "timestamp.txt"
_APPLE_DOUBLE = b"\0\5\x16\7"
_NOTHING = "nothing was handed in"
# Safari adds .json, Windows .txt, a browser that downloads twice a number; some systems drop the ending.
_NOTEBOOK = re.compile(r"\.ipynb(?:\.(?:json|txt|download))*(?: ?\(\d+\))?$", re.I)
_MAYBE_NOTEBOOK = re.compile(r"(?:\.json|\.txt|/[^./]+|^[^./]+)$", re.I)
_IGNORED = (MANIFEST, _TIMESTAMP, ".csv", ".html", ".htm")


@dataclass
class Submission:
    """What one student handed in."""

    student: str  # student id; for a file that fits nobody on the roster, a name made from its own
    data: bytes | ValueError  # bytes of the notebook, or the reason why there are none
    timestamp: datetime | None = None  # when it was handed in (UTC), or ``None`` where that is not known
    late: bool = False  # the LMS marked it as late
    notes: list[str] = field(default_factory=list)  # what was unusual
    source: str = ""  # path inside the zip or folder
    lms_judged: bool = False  # the LMS says of every file whether it was late
    unassigned: str = ""  # why the file is nobody's on the roster, or ""


def collect(
    source: str | Path,
    assignment: str,
    students: list[Student],
    *,
    answers: Collection[str] = (),
    assigned: Mapping[str, str] | None = None,
    trust_times: tzinfo | None = None,
) -> list[Submission]:
    """Submissions of one assignment, one per student, in the order of the roster.

    Args:
        source: ``submitted/`` in nbgrader's layout, any folder of notebooks, or a zip.
        assignment: Its name.
        students: The roster; students without a file get a submission that says so. May be empty.
        answers: Text that only this assignment's notebooks hold: of several files one that holds it counts.
        assigned: Path of a file → id of the student whose it is, as the instructor has decided.
        trust_times: Take the dates of files, and those in their names, as the time of handing in; a time
            without a zone is in this one. By default they are not: an export dates everything by itself.

    Raises:
        FileNotFoundError: No such folder or file.
        ValueError: A zip that cannot be opened, or ``assigned`` names an unknown student.
    """
    source = Path(source)
    if not source.exists():
        raise FileNotFoundError(f"There is no folder or zip {source} with submissions.")
    known = {student.id: student for student in students}
    owners = {path: roster.find(students, text) for path, text in (assigned or {}).items()}
    if unknown := [text for path, text in (assigned or {}).items() if owners[path] is None]:
        raise ValueError(f"A file is assigned to {min(unknown)!r}, who is not one student of the roster.")
    paths = [member.name for member in _members(source, lambda name: False)]
    found = _Found(Owners(students, assignment, paths), assignment, answers, owners, trust_times)
    for member in _members(source, _is_wanted):
        found.add(member)
    if source.is_dir():
        for folder in sorted(path for path in source.rglob(assignment) if path.is_dir()):
            found.add_folder(folder.relative_to(source).as_posix())
    chosen = found.submissions()
    _share_in_teams(chosen, students)
    rows = [chosen.get(s.id) or Submission(s.id, ValueError(_NOTHING)) for s in students]
    return rows + [chosen[identity] for identity in sorted(set(chosen) - set(known))]


_UNASSIGNED = ["file", "why", "student_id"]


def read_assigned(path: Path) -> dict[str, str]:
    """What an instructor has filled in for files that fit nobody: path → student id."""
    if not path.is_file():
        return {}
    table = roster.read_table(path)
    files, ids = table.columns("file"), table.columns("student_id")
    if not files or not ids:
        raise ValueError(f"{path} needs the columns file and student_id.")
    return {row[files[0]]: row[ids[0]] for _, row in table.rows if row[ids[0]]}


def write_unassigned(path: Path, submissions: list[Submission]) -> int:
    """Write the list of files that fit nobody, with what was filled in before; returns how many are left."""
    assigned = read_assigned(path)
    left = [(s.source, s.unassigned, "") for s in submissions if s.unassigned]
    if left or assigned:
        filled = [(file, "", identity) for file, identity in assigned.items()]
        gradebook.write_table(path, _UNASSIGNED, left + filled)
    return len(left)


def _members(source, wanted) -> Iterator[handed_in.Member]:
    """Files of a zip or folder; a zip in a folder is opened too."""
    if source.is_file():
        yield from handed_in.members(source, wanted=wanted, owner=_budget_key)
        return
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source).as_posix()
        if handed_in.is_clutter(name) or not (path.is_symlink() or path.is_file()):
            continue
        modified = datetime.fromtimestamp(path.lstat().st_mtime, UTC)
        if path.suffix.lower() == ".zip" and not path.is_symlink():
            try:
                for member in handed_in.members(path, wanted=wanted, owner=_budget_key):
                    yield replace(member, name=f"{name}/{member.name}", modified=modified)
            except ValueError as error:
                yield handed_in.Member(name, error, modified)
        else:
            yield handed_in.Member(name, _read(path, source) if wanted(name) else b"", modified)


def _budget_key(name):
    parts = name.split("/")
    found = read_name(parts)
    return f"{found[1].person}_{found[1].number}" if found else parts[0]


def _is_wanted(name):
    return bool(
        name.endswith((MANIFEST, _TIMESTAMP)) or _NOTEBOOK.search(name) or _MAYBE_NOTEBOOK.search(name)
    )


def _read(path, root):
    # A link could point at the solutions, the grade book, or another student's file.
    if path.is_symlink() or not path.resolve().is_relative_to(root.resolve()):
        return ValueError("it is a symbolic link, not a file")
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            return ValueError(f"the notebook has {size / 2**20:.0f} MB, more than {MAX_BYTES // 2**20}")
        return path.read_bytes()
    except OSError as error:
        return ValueError(f"it cannot be read ({error.strerror})")


def _looks_like_one(data):
    begins = data[:400].lstrip(b"\xef\xbb\xbf \r\n\t")[:1] == b"{"
    return begins and b'"cells"' in data and b'"nbformat' in data


class _Found:
    """What was found so far: of each student the best file, so that a class never lies in memory twice."""

    def __init__(self, owners, assignment, answers, assigned, trust_times):
        self._owners, self._assignment, self._assigned = owners, assignment, assigned
        self._answers = [text.encode() for text in answers]
        self._trust = trust_times
        self._best: dict[str, tuple[tuple, Submission]] = {}
        self._count: dict[str, int] = {}
        self._others: dict[str, Submission] = {}
        self._manifests: dict[str, bytes] = {}
        self._timestamps: dict[str, bytes] = {}
        self._folders: list[str] = []

    def add(self, member) -> None:
        folder, _, last = member.name.rpartition("/")
        data = member.data
        if isinstance(data, bytes) and data[:4] == _APPLE_DOUBLE:
            return
        if last in (MANIFEST, _TIMESTAMP) and isinstance(data, bytes):
            (self._manifests if last == MANIFEST else self._timestamps)[folder] = data
            return
        is_notebook = _NOTEBOOK.search(last) or (
            _MAYBE_NOTEBOOK.search(member.name) and isinstance(data, bytes) and _looks_like_one(data)
        )
        if not is_notebook and last.lower().endswith(_IGNORED):
            return
        owner = self._owners.find(member.name)
        student = self._assigned.get(member.name) or owner.student
        identity = student.id if student else owner.label
        made = Submission(identity, data, source=member.name, notes=list(owner.notes))
        made.late = bool(owner.upload and owner.upload.late)
        made.lms_judged = bool(owner.upload and owner.upload.system == "canvas")
        if student is None and owner.why:
            made.unassigned = owner.why
            made.notes.append(owner.why)
        self._date(made, member, owner.upload)
        if not is_notebook:
            reason = data if isinstance(data, ValueError) else None
            made.data = reason or ValueError(f"handed in {last[:80]!r}, which is no notebook")
            self._others.setdefault(identity, made)
            return
        order = self._order(made, member, last, owner.upload)
        self._count[identity] = self._count.get(identity, 0) + 1
        if identity not in self._best or order >= self._best[identity][0]:
            self._best[identity] = (order, made)

    def add_folder(self, folder: str) -> None:
        """Note a folder of nbgrader's exchange: a student handed in, be it nothing."""
        self._folders.append(folder)

    def _date(self, made, member, upload):
        """The time of handing in, if the name holds one or the dates of files are to be trusted."""
        moment = policy.local_time(upload.when) if upload and upload.when else None
        if self._trust is None:
            if moment:
                said = "without a time zone, which was not used to judge lateness"
                made.notes.append(f"The name says {upload.when} {said}.")
            return
        moment = moment or (None if upload and upload.system == "canvas" else member.modified)
        if moment:
            moment = moment if moment.tzinfo else moment.replace(tzinfo=self._trust)
            made.timestamp = moment.astimezone(UTC) if moment.year > 1980 else None

    def _order(self, made, member, last, upload):
        """What makes one of a student's files count before another; the greatest is graded."""
        readable = isinstance(made.data, bytes)
        # An upload that broke off lacks the end of its JSON.
        whole = readable and made.data.rstrip(b"\0\t\n\r ").endswith(b"}")
        ours = whole and any(text in made.data for text in self._answers)
        in_exchange = f"/{self._assignment}/" in f"/{member.name}" and last == f"{self._assignment}.ipynb"
        tries = re.search(r"[-(](\d{1,3})\)?\.ipynb", last)
        version = re.search(r"(?:^|/)version[ _](\d{1,6})/", member.name, re.I)  # Teams
        modified = member.modified.replace(tzinfo=None) if member.modified else datetime.min
        return (
            readable,
            "-checkpoint" not in last,
            ours,
            in_exchange,
            upload.upload if upload else 0,
            (policy.local_time(upload.when) if upload else None) or datetime.min,
            int(version.group(1)) if version else 0,
            modified,
            int(tries.group(1)) if tries else 0,
        )

    def submissions(self) -> dict[str, Submission]:
        """The chosen submission of each student who handed in anything."""
        chosen = {identity: made for identity, (_, made) in self._best.items()}
        for identity, made in chosen.items():
            name, count = made.source.rpartition("/")[2], self._count[identity]
            if count > 1:
                made.notes.append(f"{count} files were handed in; the latest was graded: {name[:80]}.")
            elif "-checkpoint" in name:
                made.notes.append("Only an automatic copy (checkpoint) was handed in.")
        chosen = {**self._others, **chosen}
        for made in chosen.values():
            folder = made.source.rpartition("/")[0]
            if isinstance(made.data, bytes):
                made.notes += _manifest_note(self._manifests.get(folder), made.data)
            self._exchange_time(made, folder)
        for folder in sorted({*self._folders, *filter(self._is_exchange, self._timestamps)}):
            owner = self._owners.find(f"{folder}/{self._assignment}.ipynb")
            identity = owner.student.id if owner.student else owner.label
            if identity not in chosen and "/" in folder:
                made = Submission(identity, ValueError("the folder holds no notebook"), source=folder)
                made.unassigned = owner.why
                self._exchange_time(made, folder)
                chosen[identity] = made
        return chosen

    def _is_exchange(self, folder):
        """Whether nbgrader wrote this folder's time: inside an upload or a zip a student could have."""
        parts = folder.split("/")
        zipped = any(part.lower().endswith(".zip") for part in parts)
        return len(parts) > 1 and parts[-1] == self._assignment and not zipped and read_name(parts) is None

    def _exchange_time(self, made, folder):
        text = self._timestamps.get(folder)
        if text is None or not self._is_exchange(folder):
            return
        try:
            made.timestamp = policy.parse_time(roster.decode(text[:200]))
        except ValueError as error:
            made.notes.append(f"The time of handing in is not known: in {_TIMESTAMP}, {error}.")


def _manifest_note(manifest, data):
    """What the manifest of ``rs-course submit`` says about a notebook, if there is one."""
    if manifest is None:
        return []
    try:
        promised = json.loads(manifest)["sha256"] if len(manifest) < 10_000 else None
    except (ValueError, KeyError, TypeError, RecursionError):
        promised = None
    if promised is None:
        return ["The manifest cannot be read."]
    same = promised == hashlib.sha256(data).hexdigest()
    return [] if same else ["The notebook is not the one that its manifest describes."]


def _share_in_teams(chosen, students):
    """Who handed in nothing gets what was handed in last for the team."""
    begin = datetime.min.replace(tzinfo=UTC)
    for student in students:
        if not student.team or isinstance(getattr(chosen.get(student.id), "data", None), bytes):
            continue
        mates = [chosen[s.id] for s in students if s.team == student.team and s.id in chosen]
        mates = [mate for mate in mates if isinstance(mate.data, bytes)]
        mates = [mate for mate in mates if "for the team" not in " ".join(mate.notes)]
        if mates:
            last = max(mates, key=lambda mate: (mate.timestamp or begin, mate.student))
            note = f"Handed in by {last.student} for the team {student.team}."
            chosen[student.id] = replace(last, student=student.id, notes=[*last.notes, note])
