"""Files as they were handed in: zips, which may be hostile, and whose each file is.

A learning system puts the owner into a folder's or file's name; a folder of an instructor's own making does
so too. The outermost part of a path that names somebody decides. What lies further inside was named by the
student who handed it in, so it can never give a file to somebody else. Only whole words count, never pieces
of them, and a name that fits several students fits nobody.
"""

from __future__ import annotations

import contextlib
import io
import re
import unicodedata
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePosixPath

from rs_course.grading.records import file_name
from rs_course.grading.roster import Student

MAX_FILE_BYTES, MAX_RATIO = 64 * 2**20, 200
# Of a class, and of what one student hands in: the excess of one costs nobody else.
MAX_CLASS_FILES, MAX_FILES, MAX_STUDENT_BYTES = 200_000, 5_000, 256 * 2**20
_RATIO_FROM_BYTES = 2**20
_ENTRY = b"PK\x01\x02"  # what each file's entry in the list at the end of a zip begins with
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)


@dataclass(frozen=True)
class Member:
    """One file of an archive."""

    name: str  # its path with forward slashes, for matching only; never used to write a file
    # Its bytes, the reason (``ValueError``) why it was not read, or ``b""`` where nobody wanted it
    data: bytes | ValueError
    modified: datetime | None  # time stored in the archive (local time of whoever made it), or ``None``


class _Budget:
    """What one student may still hand in, over all zips inside zips together."""

    def __init__(self):
        self.files, self.bytes = MAX_FILES, MAX_STUDENT_BYTES

    def refuse(self, entry) -> ValueError | None:
        self.files -= 1
        if self.files < 0:
            return ValueError(f"more than {MAX_FILES} files were handed in")
        if entry.file_size > self.bytes:
            return ValueError(f"more than {MAX_STUDENT_BYTES // 2**20} MB were handed in, unpacked")
        return None


def members(
    source,
    *,
    wanted: Callable[[str], bool] = lambda name: True,
    owner: Callable[[str], str] = lambda name: name.split("/")[0],
    _budget: _Budget | None = None,
) -> Iterator[Member]:
    """Every regular file of a zip; a zip inside it (``rs-course submit`` makes one) is opened once more.

    Links, absolute paths, ``..`` and what is beyond a limit come with a reason instead of data.

    Args:
        source: Path, or bytes of an archive.
        wanted: Whether a file of this name is to be read; all are listed.
        owner: To whom the limits of one student apply; called with the name.

    Raises:
        ValueError: Not a zip, or so many files that it is an attack rather than a class.
    """
    if isinstance(source, bytes) and (count := source.count(_ENTRY)) > MAX_FILES:
        # Before the list of its files is parsed, which takes some hundred bytes of memory for each.
        raise ValueError(f"The zip holds about {count} files, more than {MAX_FILES}: it was not opened.")
    try:
        archive = zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        what = "The zip" if isinstance(source, bytes) else source
        raise ValueError(f"{what} cannot be opened: {error}") from None
    nested, budgets = _budget is not None, {}
    with archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        most = MAX_FILES if nested else MAX_CLASS_FILES
        if len(entries) > most:
            raise ValueError(f"The zip holds {len(entries)} files, more than {most}: it was not opened.")
        for entry in entries:
            name = _name(entry)
            if is_clutter(name):
                continue
            budget = _budget or budgets.setdefault(owner(name), _Budget())
            is_zip, data = not nested and name.lower().endswith(".zip"), b""
            if is_zip or wanted(name):
                data = budget.refuse(entry) or _read(archive, entry, name)
                budget.bytes -= len(data) if isinstance(data, bytes) else 0
            if not is_zip or isinstance(data, ValueError):
                yield Member(name, data, _modified(entry))
                continue
            try:
                for member in members(data, wanted=wanted, _budget=budget):
                    yield Member(f"{name}/{member.name}", member.data, _modified(entry))
            except ValueError as error:
                yield Member(name, error, _modified(entry))


def _name(entry):
    """The name with forward slashes. Without the flag for UTF-8 it is taken as UTF-8 where it can be, as
    macOS and several learning systems write it, else as the code page 437 of the standard."""
    name = entry.filename
    if not entry.flag_bits & 0x800:
        with contextlib.suppress(UnicodeEncodeError, UnicodeDecodeError):
            name = name.encode("cp437").decode("utf-8")
    return name.replace("\\", "/")


def _read(archive, entry, name):
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or (parts and parts[0].endswith(":")):
        return ValueError("its name in the zip leads out of the folder")
    if (entry.external_attr >> 16) & 0o170000 == 0o120000:
        return ValueError("it is a symbolic link, not a file")
    if entry.flag_bits & 1:
        return ValueError("it is encrypted")
    if entry.compress_type not in _METHODS:  # A header of LZMA can ask for gigabytes.
        return ValueError(f"it is packed by the unusual method {entry.compress_type}")
    if entry.file_size > MAX_FILE_BYTES:
        return ValueError(f"it unpacks to {entry.file_size / 2**20:.0f} MB")
    if entry.file_size > _RATIO_FROM_BYTES and entry.file_size > MAX_RATIO * max(entry.compress_size, 1):
        return ValueError("it is a zip bomb: it unpacks to more than 200 times its size")
    try:
        with archive.open(entry) as stream:
            # The size in the directory is a claim: read no more than allowed whatever it says.
            data = stream.read(MAX_FILE_BYTES + 1)
    except (zipfile.BadZipFile, OSError, NotImplementedError, EOFError, RuntimeError, ValueError) as error:
        return ValueError(f"it is damaged in the zip ({str(error)[:80]})")
    except Exception as error:  # zlib.error, lzma.LZMAError: whatever the decompressors raise on garbage
        return ValueError(f"it is damaged in the zip ({type(error).__name__})")
    if len(data) > MAX_FILE_BYTES:
        return ValueError("it unpacks to more than it claims")
    return data


def is_clutter(name: str) -> bool:
    """Whether a path belongs to the bookkeeping of a system, and not to what somebody handed in."""
    last = name.rsplit("/", 1)[-1]
    known = last in (".DS_Store", "Thumbs.db", "desktop.ini")
    return known or "__MACOSX/" in name or last.startswith(("._", "~$"))


def _modified(entry):
    try:
        return datetime(*entry.date_time)
    except ValueError:
        return None


# --- Owners ------------------------------------------------------------------------------------------------

_CANVAS = re.compile(r"(?P<person>\D[^/]*?)(?:_(?P<late>LATE))?_(?P<number>\d+)_(?P<upload>\d+)_(?P<rest>.+)")
_MOODLE = re.compile(r"(?P<person>.+?)_(?P<number>\d+)(?:_assignsubmission_[a-z]+_?(?P<rest>.*))?")
_BLACKBOARD = re.compile(r"(?P<person>.+?)_attempt_(?P<when>\d{4}(?:-\d\d){5})(?:_(?P<rest>.*)|\.txt)?")
_D2L = re.compile(r"(?P<number>\d+)-\d+ - (?P<person>.+?) - (?P<when>.*\d{4}.*)")
_ENDING = re.compile(r"\.(ipynb|json|txt|zip|html?|pdf|py)\b", re.I)
_NOISE = r"(?:v|a|hw|ex|p)?\d{1,3}|final|cop(?:y\d*|ie|ia)|kopie|new|late|submission|abgabe|notebook|version"
_NOTEBOOK = ".ipynb"
_YEAR = re.compile(r"(19|20)\d\d")


@dataclass(frozen=True)
class Upload:
    """What a learning system says by the name that it gives to a file or folder."""

    system: str  # ``"canvas"``, ``"moodle"``, ``"blackboard"`` or ``"d2l"``
    person: str  # the owner's name or user name, as the system writes it
    number: str = ""  # the owner's number there, or ""
    late: bool = False  # it marks the file as late
    upload: int = 0  # number of the upload, which grows with time, or 0
    when: str = ""  # time of the upload without a time zone, as text, or ""


@dataclass(frozen=True)
class Owner:
    """Whose a file is."""

    student: Student | None  # the student, or ``None``
    label: str  # a name for whoever is not on the roster
    why: str = ""  # why it is nobody's, as a sentence
    upload: Upload | None = None  # what the learning system says, where its pattern was recognized
    notes: tuple[str, ...] = field(default=())  # what was unusual


def read_name(parts: list[str], assignment: str = "") -> tuple[int, Upload] | None:
    """The outermost part of a path that follows the pattern of a learning system, with its index."""
    for index, part in enumerate(parts):
        following = parts[index + 1] if index + 1 < len(parts) else ""
        if found := _D2L.fullmatch(part):
            return index, Upload("d2l", found["person"], found["number"], when=found["when"])
        if found := _BLACKBOARD.fullmatch(part):
            return index, Upload("blackboard", found["person"], when=found["when"])
        found = _MOODLE.fullmatch(part)
        if found and ("_assignsubmission_" in part or following.startswith("assignsubmission_")):
            return index, Upload("moodle", found["person"], found["number"])
        found = _CANVAS.fullmatch(part)
        if found and plain(found["person"]) != plain(assignment):
            late, upload = bool(found["late"]), int(found["upload"][:18])
            return index, Upload("canvas", found["person"], found["number"], late, upload)
    return None


class Owners:
    """Finds the owners of all files of one collection, whose ``paths`` show which folders are students'.

    The words of the assignment's name say nothing in that of a file.
    """

    def __init__(self, students: list[Student], assignment: str, paths: Iterable[str] = ()):
        self._students, self._assignment = students, assignment
        self._names: dict[str, set[Student]] = {}
        self._ids: dict[str, set[Student]] = {}
        self._numbers: dict[str, set[Student]] = {}
        for student in students:
            for key in _name_keys(student):
                self._names.setdefault(key, set()).add(student)
            local = student.email.partition("@")[0]
            for key in {student.id, file_name(student.id), student.email, local, *student.aliases}:
                if key:
                    self._ids.setdefault(_words_key(key), set()).add(student)
            if student.lms_id:
                self._numbers.setdefault(student.lms_id, set()).add(student)
                self._ids.setdefault(_words_key(student.lms_id), set()).add(student)
        split = [_split(path) for path in paths]
        uploads = [found[1] for parts in split if (found := read_name(parts, assignment))]
        self._live = {u.system for u in uploads if u.number in self._numbers}
        # Folders around the whole collection are nobody's name.
        folders = [parts[:-1] for parts in split if students and _NOTEBOOK in parts[-1].lower()]
        levels = zip(*folders, strict=False)  # as far as the shortest goes
        same = [len(set(level)) == 1 for level in levels] if len(folders) > 1 else []
        self._around = (*same, False).index(False)
        levels = range(max(map(len, split), default=0))
        inside = ([parts[level] for parts in split if len(parts) > level + 1] for level in levels)
        self._level = next((n for n, parts in enumerate(inside) if any(map(self._named, parts))), None)

    def find(self, path: str) -> Owner:
        """The owner of a file, with the reason where it is nobody's."""
        parts = _split(path)
        if found := read_name(parts, self._assignment):
            index, upload = found
            label = "_".join(filter(None, (upload.person, upload.number)))
            fits, notes = self._by_upload(upload)
        else:
            index, upload, notes = self._place(parts), None, ()
            label = _label(parts[self._around :] or parts, self._assignment)
            fits = self._named(parts[index])
            if not fits and len(parts) > 1 and parts[0].lower().endswith(".zip"):
                label = _label(parts[:1], self._assignment) or label
        teams = {student.team for student in fits}
        if len(fits) == 1 or (len(teams) == 1 and all(teams)):
            student = min(fits, key=lambda one: one.id)
            notes += self._misnamed(parts[index + 1 :], path, student, upload)
            return Owner(student, label, "", upload, notes)
        if not self._students:
            return Owner(None, label, "", upload)
        if fits:
            ids = ", ".join(sorted(student.id for student in fits))
            why = f"The file {path[:120]!r} fits several students ({ids})."
        else:
            why = (notes and notes[0]) or f"The file {path[:120]!r} fits nobody on the roster."
        return Owner(None, label, why, upload)

    def _place(self, parts):
        """Index of the part that names the owner: the folder of students, else the outermost that fits."""
        if self._level is not None and len(parts) > self._level + 1:
            return self._level
        return next((n for n, part in enumerate(parts) if self._named(part)), len(parts) - 1)

    def _by_upload(self, upload):
        """Students that an upload of a learning system fits, and what to say about it."""
        name = upload.person
        named = self._whole(name)
        # "Group A-Min Kim", where groups hand in; "Assignment 1_user_name"
        if not named and (sign := {"moodle": "-", "blackboard": "_"}.get(upload.system)):
            pieces = name.split(sign)
            ends = (self._whole(sign.join(pieces[n:])) for n in range(1, len(pieces)))
            named = next(filter(None, ends), set())
        numbered = {s for s in self._numbers.get(upload.number, ()) if s.lms in ("", upload.system)}
        if upload.system == "d2l":
            numbered = numbered or self._ids.get(_words_key(upload.number), set())
        if numbered:
            if not named or named & numbered:
                return numbered, ()
            others = ", ".join(sorted(s.id for s in named))
            if upload.system == "canvas":
                said = f"The number {upload.number} decided; the name {name!r} is that of {others}."
                return numbered, (said,)
            return named | numbered, ()
        same = {s for s in named if upload.number and upload.number in (s.id, *s.aliases)}
        if same:
            return same, ()
        # A student whose own number is known to differ is a namesake.
        strict = upload.system == "canvas" or upload.system in self._live
        free = {
            s
            for s in named
            if not (s.lms_id and upload.number)
            or (s.lms and s.lms != upload.system)
            or not (strict or s.lms == upload.system)
        }
        if named and not free:
            others = ", ".join(sorted(f"{s.id} has {s.lms_id}" for s in named))
            return set(), (f"The name {name!r} fits, but not the number {upload.number} ({others}).",)
        return free, ()

    def _whole(self, text):
        """Students whose name or id is the whole text."""
        return set(self._names.get(plain(text), ())) or set(self._ids.get(_words_key(text), ()))

    def _named(self, part):
        """Students that a part of a path names by whole words, the longest first."""
        part = _ENDING.sub("", part[:200])
        if whole := self._whole(part):
            return whole
        words = _words(part)
        given = set(_words(self._assignment))
        rest = [word for word in words if word not in given]
        if whole := self._whole(" ".join([word for word in rest if not re.fullmatch(_NOISE, word)] or rest)):
            return whole
        for length in range(len(words), 0, -1):
            spans = [words[start : start + length] for start in range(len(words) - length + 1)]
            if hits := set().union(*map(self._by_words, spans)):
                return hits
        return set()

    def _by_words(self, span):
        """Students whose name or id these words are, where that cannot be chance."""
        joined, key = "".join(span), " ".join(span)
        if joined in self._names and not any(map(str.isdigit, joined)):
            return self._names[joined]
        digits = any(map(str.isdigit, joined))
        # One word of letters may be anybody's first name; a short number is a date, a year or a try.
        distinctive = (
            (digits and not joined.isdigit())
            or "@" in joined
            or (len(span) == 1 and key.isdigit() and len(key) >= 4 and not _YEAR.fullmatch(key))
            or (len(span) > 1 and not digits)
        )
        return self._ids.get(key, set()) if distinctive else set()

    def _misnamed(self, inside, path, student, upload):
        """A note where the student's own part of a path names a classmate."""
        if upload and upload.system in ("canvas", "moodle", "blackboard"):
            pattern = {"canvas": _CANVAS, "moodle": _MOODLE, "blackboard": _BLACKBOARD}[upload.system]
            part = next(p for p in _split(path) if pattern.fullmatch(p))
            inside = [pattern.fullmatch(part)["rest"] or "", *inside]
        for part in inside:
            others = self._named(part) - {student} if part else set()
            if len(others) == 1 and student not in self._named(part):
                other = next(iter(others)).id
                return (f"The file {part[:80]!r} is named after {other}; the place of the upload decided.",)
        return ()


def _split(path):
    return [part for part in path.split("/") if part]


def _label(parts, assignment):
    """A name for whoever is not on the roster: the folder or file name without the assignment's name."""
    parts = [part for part in parts if part not in ("submitted", assignment)] or parts
    text = parts[0] if len(parts) > 1 else re.sub(r"\.(ipynb|zip)$", "", parts[-1], flags=re.I)
    return re.sub(rf"[_\s-]*{re.escape(assignment)}[_\s-]*", "", text).strip("_- ") or text


def _name_keys(student):
    """First and last name in both orders, also with the German spelling of umlauts."""
    first, last = student.first_name, student.last_name
    if not (first or last):
        return set()
    names = {last + first, first + last}
    for pair in (("ä", "ae"), ("ö", "oe"), ("ü", "ue")):
        names |= {unicodedata.normalize("NFC", name).casefold().replace(*pair) for name in names}
    return {key for key in map(plain, names) if len(key) >= 2}


def _words(text):
    folded = unicodedata.normalize("NFKD", text).casefold()
    folded = "".join(letter for letter in folded if not unicodedata.combining(letter))
    return [word for word in re.split(r"[^\w@]+|_", folded) if word]


def _words_key(text):
    return " ".join(_words(text))


def plain(text: str) -> str:
    """Letters and digits only, lower case, without accents: how an LMS squeezes names into file names."""
    text = unicodedata.normalize("NFKD", text).casefold()
    return "".join(letter for letter in text if letter.isalnum())
