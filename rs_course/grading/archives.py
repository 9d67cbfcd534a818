"""Zips that strangers made, of which nothing is extracted by its name or grows without bound; and our own."""

from __future__ import annotations

import contextlib
import io
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

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
            is_zip = not nested and name.lower().endswith(".zip")
            data = b""
            if is_zip or wanted(name):
                data = budget.refuse(entry) or _read(archive, entry, name)
                budget.bytes -= len(data) if isinstance(data, bytes) else 0
            if is_zip and isinstance(data, bytes):
                yield from _nested(name, data, entry, wanted, budget)
            else:
                yield Member(name, data, _modified(entry))


def _nested(name, data, entry, wanted, budget):
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


def pack(files: Iterable[tuple[str, bytes]], *, programs: Collection[str] = ()) -> bytes:
    """A zip with fixed dates, so that the same files give the same bytes; ``programs`` may be executed."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in files:
            entry = zipfile.ZipInfo(name, (2000, 1, 1, 0, 0, 0))
            entry.external_attr = (0o100755 if name in programs else 0o100644) << 16
            # Weights do not compress.
            method = zipfile.ZIP_STORED if name.endswith(".safetensors") else zipfile.ZIP_DEFLATED
            archive.writestr(entry, data, method)
    return stream.getvalue()


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
