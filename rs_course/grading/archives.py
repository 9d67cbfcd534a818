"""Read zips that strangers made: nothing is extracted by its name, and nothing grows without bound."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

MAX_FILES, MAX_FILE_BYTES, MAX_TOTAL_BYTES, MAX_RATIO = 5_000, 64 * 2**20, 2 * 2**30, 200
_RATIO_FROM_BYTES = 2**20


@dataclass(frozen=True)
class Member:
    """One file of an archive.

    Attributes:
        name: Its path with forward slashes, for matching only; never used to write a file.
        data: Its bytes, or the reason (``ValueError``) why it was not read.
        modified: Time stored in the archive (local time of whoever made it), or ``None``.
    """

    name: str
    data: bytes | ValueError
    modified: datetime | None


def members(source, *, depth: int = 0) -> Iterator[Member]:
    """Files of a zip; a zip inside it (``rs-course submit`` makes one) is opened once more.

    Args:
        source: Path, or bytes of an archive.
        depth: Used by the call for a zip inside a zip.

    Yields:
        Every regular file. Links, absolute paths and ``..`` are yielded with a reason instead of data.

    Raises:
        ValueError: Not a zip, or so many files or bytes that it is an attack rather than a class.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source)
    except (zipfile.BadZipFile, OSError) as error:
        raise ValueError(
            f"{'The zip' if isinstance(source, bytes) else source} cannot be opened: {error}"
        ) from None
    with archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        if len(entries) > MAX_FILES:
            raise ValueError(f"The zip holds {len(entries)} files, more than {MAX_FILES}: it was not opened.")
        total = 0
        for entry in entries:
            name = entry.filename.replace("\\", "/")
            if _is_clutter(name):
                continue
            data = _read(archive, entry, name)
            if not isinstance(data, ValueError):
                total += len(data)
            if total > MAX_TOTAL_BYTES:
                raise ValueError("The zip unpacks to more than 2 GB: it was not read to its end.")
            if depth == 0 and name.lower().endswith(".zip") and isinstance(data, bytes):
                yield from _nested(name, data, entry)
            else:
                yield Member(name, data, _modified(entry))


def _nested(name, data, entry):
    try:
        for member in members(data, depth=1):
            yield Member(f"{name}/{member.name}", member.data, _modified(entry))
    except ValueError as error:
        yield Member(name, error, _modified(entry))


def _read(archive, entry, name):
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or (parts and parts[0].endswith(":")):
        return ValueError("its name in the zip leads out of the folder")
    if (entry.external_attr >> 16) & 0o170000 == 0o120000:
        return ValueError("it is a symbolic link, not a file")
    if entry.flag_bits & 1:
        return ValueError("it is encrypted")
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


def _is_clutter(name):
    last = name.rsplit("/", 1)[-1]
    return (
        "__MACOSX/" in name or ".ipynb_checkpoints/" in name or last.startswith("._") or last == ".DS_Store"
    )


def _modified(entry):
    try:
        return datetime(*entry.date_time)
    except ValueError:
        return None
