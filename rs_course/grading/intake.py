"""Collect submissions: nbgrader's folder layout, a folder of files, or the zip that an LMS exports."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rs_course.grading import archives
from rs_course.grading.notebooks import MAX_BYTES
from rs_course.grading.roster import Matcher, Student

MANIFEST = "manifest.json"


@dataclass
class Submission:
    """What one student handed in.

    Attributes:
        student: Student id; for a file that fits nobody on the roster, a name made from its own.
        data: Bytes of the notebook, or the reason why there are none.
        timestamp: When it was handed in (UTC where known), or ``None``.
        late: The LMS marked it as late.
        notes: What was unusual.
        source: Its path in the archive or folder, which an LMS wants back with the feedback.
    """

    student: str
    data: bytes | ValueError
    timestamp: datetime | None = None
    late: bool = False
    notes: list[str] = field(default_factory=list)
    source: str = ""


def collect(source: str | Path, assignment: str, students: list[Student]) -> list[Submission]:
    """Submissions of one assignment, one per student, in the order of the roster.

    Args:
        source: ``submitted/`` in nbgrader's layout, any folder of notebooks, or a zip.
        assignment: Name of the assignment.
        students: The roster; students without a file get a submission that says so. May be empty.

    Raises:
        FileNotFoundError: No such folder or file.
        ValueError: A zip that cannot be opened.
    """
    source = Path(source)
    if source.is_dir():
        found = _from_nbgrader(source, assignment) or _by_name(_files(source), assignment, students)
    elif source.is_file():
        found = _by_name(archives.members(source), assignment, students)
    else:
        raise FileNotFoundError(f"There is no folder or zip {source} with submissions.")
    by_student: dict[str, list[Submission]] = {}
    for submission in found:
        by_student.setdefault(submission.student, []).append(submission)
    chosen = {student: _latest(several) for student, several in by_student.items()}
    known = [student.id for student in students]
    rows = [
        chosen.get(identity) or Submission(identity, ValueError("nothing was handed in"))
        for identity in known
    ]
    strangers = sorted(set(chosen) - set(known))
    for identity in strangers if students else []:
        chosen[identity].notes.append("This student is not on the roster.")
    return rows + [chosen[identity] for identity in strangers]


def _from_nbgrader(root, assignment):
    """``submitted/{student}/{assignment}/{notebook}.ipynb`` with ``timestamp.txt``."""
    found = []
    for folder in sorted(path for path in root.glob(f"*/{assignment}") if path.is_dir()):
        timestamp = _timestamp_file(folder / "timestamp.txt")
        files = sorted(folder.glob("*.ipynb"))
        named = [path for path in files if path.stem == assignment]
        for path in named or files:
            found.append(Submission(folder.parent.name, _read(path, root), timestamp))
        if not files:
            reason = ValueError("the folder holds no notebook")
            found.append(Submission(folder.parent.name, reason, timestamp))
    return found


def _files(root):
    for path in sorted(root.rglob("*")):
        if path.is_symlink() or path.is_file():
            modified = datetime.fromtimestamp(path.lstat().st_mtime)
            name = path.relative_to(root).as_posix()
            if path.suffix.lower() == ".zip" and not path.is_symlink():
                try:
                    for member in archives.members(path):
                        yield archives.Member(f"{name}/{member.name}", member.data, modified)
                except ValueError as error:
                    yield archives.Member(name, error, modified)
            else:
                yield archives.Member(name, _read(path, root), modified)


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


def _by_name(members, assignment, students):
    matcher, found, others, manifests = Matcher(students), [], {}, {}
    origin: dict[int, str] = {}  # folder of each submission, where its manifest would lie
    for member in members:
        folder, _, last = member.name.rpartition("/")
        if last == MANIFEST and isinstance(member.data, bytes):
            manifests[folder] = member.data
        student = matcher.find(member.name)
        identity = student.id if student else _stranger(member.name, assignment)
        late = bool(re.search(r"(^|[_/])LATE_", member.name))
        notes = (
            [] if student or not students else [f"The file {member.name[:120]!r} fits nobody on the roster."]
        )
        timestamp = member.modified.astimezone(UTC) if member.modified else None
        if member.name.lower().endswith(".ipynb"):
            found.append(Submission(identity, member.data, timestamp, late, notes, member.name))
            origin[id(found[-1])] = folder
        elif not member.name.lower().endswith((MANIFEST, "timestamp.txt", ".csv", ".html")):
            reason = member.data if isinstance(member.data, ValueError) else None
            reason = reason or ValueError(f"handed in {Path(member.name).name[:80]!r}, which is no notebook")
            others.setdefault(identity, Submission(identity, reason, timestamp, late, notes, member.name))
    for submission in found:
        submission.notes += _manifest_note(manifests.get(origin[id(submission)]), submission.data)
    with_notebook = {submission.student for submission in found}
    return found + [submission for identity, submission in others.items() if identity not in with_notebook]


def _manifest_note(manifest, data):
    """What the manifest of ``rs-course submit`` says about a notebook, if there is one."""
    if manifest is None or not isinstance(data, bytes):
        return []
    try:
        promised = json.loads(manifest)["sha256"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ["The manifest cannot be read."]
    same = promised == hashlib.sha256(data).hexdigest()
    return [] if same else ["The notebook is not the one that its manifest describes."]


def _stranger(name, assignment):
    """A name for whoever is not on the roster: the folder or file name without the assignment's name."""
    parts = [part for part in name.split("/") if part not in ("", "submitted", assignment)]
    text = parts[0] if len(parts) > 1 else re.sub(r"\.ipynb$", "", parts[-1] if parts else name, flags=re.I)
    return re.sub(rf"[_\s-]*{re.escape(assignment)}[_\s-]*", "", text).strip("_- ") or text


def _latest(several: list[Submission]) -> Submission:
    """The last readable one; among equal times the one listed last, as an LMS numbers resubmissions."""
    order = sorted(
        several, key=lambda s: (isinstance(s.data, bytes), s.timestamp or datetime.min.replace(tzinfo=UTC))
    )
    chosen = order[-1]
    if len(several) > 1:
        chosen.notes.append(f"{len(several)} files were handed in; the latest was graded.")
    return chosen


def _timestamp_file(path):
    try:
        text = path.read_text(encoding="utf-8").strip().replace(" UTC", "+00:00")
        stamp = datetime.fromisoformat(text)
    except (OSError, ValueError):
        return None
    return stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)
