"""Where the bytes of an image collection lie: a folder, a tar or a zip, behind one small interface.

A container lists its files by relative POSIX path and reads one of them. Archives are read in place: nothing
is unpacked, so a member named ``../../x`` has nowhere to go; it is refused all the same, because an archive
that contains one is damaged or hostile.
"""

from __future__ import annotations

import functools
import hashlib
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path

from rs_course.hashing import sha256
from rs_course.paths import relative

_SKIPPED = ("__MACOSX", "Thumbs.db")
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, zlib.error, lzma.LZMAError)


def open_container(path) -> Folder | Tar | Zip:
    """Open a folder or an archive for reading.

    Args:
        path: A folder, a ``.tar`` (also ``.tar.gz``, ``.tgz``, ``.tar.bz2``, ``.tar.xz``) or a ``.zip``; the
            content decides, not the suffix.

    Raises:
        FileNotFoundError: Nothing lies at ``path``.
        ValueError: Not an archive, a damaged archive, or one with unsafe member names.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        return Folder(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no file or folder at {path}.")
    if zipfile.is_zipfile(path):
        return Zip(path)
    return Tar(path)


def check_member_name(name: str, archive) -> str:
    """Return the relative POSIX path of an archive member.

    Raises:
        ValueError: The name is absolute or climbs out of the archive with ``..``.
    """
    try:
        return relative(name)
    except ValueError as error:
        raise ValueError(
            f"{archive} contains the {error}: refused, get the archive from its official source."
        ) from None


def _is_skipped(relative: str) -> bool:
    return any(part.startswith(".") or part in _SKIPPED for part in relative.split("/"))


class Folder:
    """Files below a directory."""

    def __init__(self, path: Path):
        self.path = path
        self.names, self.directories = [], []
        visited = set()
        for root, directories, files in os.walk(path, followlinks=True):
            if os.path.realpath(root) in visited:  # a link that leads back up
                directories.clear()
                continue
            visited.add(os.path.realpath(root))
            directories[:] = sorted(d for d in directories if not _is_skipped(d))
            base = Path(root).relative_to(path)
            self.directories += [(base / d).as_posix() for d in directories]
            self.names += [(base / f).as_posix() for f in files if not _is_skipped(f)]
        self.names.sort()

    def identity(self) -> str:
        """Hash of all names, sizes and modification times: cheap, and it changes when a file does."""
        digest = hashlib.sha256()
        for name in self.names:
            status = (self.path / name).stat()
            digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def position(self, name: str):
        """Sort key that visits files in the order of the medium."""
        return name


class _Archive:
    """What tar and zip share: opened and listed when first needed, known by the hash of the file."""

    def __init__(self, path: Path):
        self.path = path
        self._handle = None

    @functools.cached_property
    def members(self) -> dict:
        """Every file and folder by its checked name, in the archive's order."""
        members = {}
        try:
            for raw_name, member, is_plain in self._list():
                name = check_member_name(raw_name, self.path)
                if not is_plain:
                    raise ValueError(
                        f"{self.path} contains {raw_name!r}, which is a link, a device or encrypted: "
                        "refused, an image archive holds plain files only."
                    )
                if not _is_skipped(name):
                    members[name] = member
        except _DAMAGE as error:
            raise ValueError(self._damaged(error)) from error
        return members

    @functools.cached_property
    def names(self) -> list[str]:
        return sorted(name for name, member in self.members.items() if not self._is_directory(member))

    @functools.cached_property
    def directories(self) -> list[str]:
        return [name for name, member in self.members.items() if self._is_directory(member)]

    def _damaged(self, error: Exception) -> str:
        reason = str(error).split("\n")[0].rstrip(":") or "it ends early"
        return f"{self.path} is not a complete tar or zip archive ({reason}): download or copy it again."

    def __getstate__(self):
        return {**self.__dict__, "_handle": None}

    def identity(self) -> str:
        return sha256(self.path)

    def read(self, name: str) -> bytes:
        try:
            with self.stream(name) as stream:
                return stream.read()
        except _DAMAGE as error:
            raise ValueError(self._damaged(error)) from error


class Tar(_Archive):
    """Members of a tar archive, compressed or not."""

    def _open(self) -> tarfile.TarFile:
        if self._handle is None:
            try:
                self._handle = tarfile.open(self.path, "r:")  # noqa: SIM115  (stays open with the container)
            except tarfile.ReadError:
                self._handle = tarfile.open(self.path, "r:*")  # noqa: SIM115
        return self._handle

    def _list(self):
        archive = self._open()
        end = 0
        for member in archive:
            yield member.name, member, member.isfile() or member.isdir()
            end = member.offset_data + (-(-member.size // 512) * 512 if member.isfile() else 0)
        # To tarfile, an archive that stops between two members is complete; the zero block at the end tells.
        archive.fileobj.seek(end)
        if end and not archive.fileobj.read(512):
            raise tarfile.ReadError("it stops before its end mark")

    def _is_directory(self, member) -> bool:
        return member.isdir()

    def stream(self, name: str):
        return self._open().extractfile(self.members[name])

    def position(self, name: str):
        return self.members[name].offset


class Zip(_Archive):
    """Members of a zip archive."""

    def _open(self) -> zipfile.ZipFile:
        if self._handle is None:
            self._handle = zipfile.ZipFile(self.path)
        return self._handle

    def _list(self):
        for member in self._open().infolist():
            is_link, is_encrypted = stat.S_ISLNK(member.external_attr >> 16), member.flag_bits & 1
            yield member.filename, member, not (is_link or is_encrypted)

    def _is_directory(self, member) -> bool:
        return member.is_dir()

    def stream(self, name: str):
        return self._open().open(self.members[name])

    def position(self, name: str):
        return self.members[name].header_offset
