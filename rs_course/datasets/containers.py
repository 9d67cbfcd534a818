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
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rs_course.files import sha256
from rs_course.paths import relative

# What systems leave beside the files of a person: names, and beginnings of names (.DS_Store, ._tile.png,
# .ipynb_checkpoints, __MACOSX, @eaDir, $RECYCLE.BIN).
_SKIPPED = ("thumbs.db", "desktop.ini", "lost+found", "system volume information")
_SKIPPED_PREFIXES = (".", "__", "@", "$")
# The first bytes of archives that are sound, but that Python's standard library does not read.
_OTHER_ARCHIVES = {
    b"Rar!\x1a\x07": "a RAR archive",
    b"7z\xbc\xaf'\x1c": "a 7z archive",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"\x04\x22\x4d\x18": "compressed with lz4",
    b"\x1f\x9d": "compressed with compress (.Z)",
    b"PK\x07\x08": "a part of a ZIP archive in several parts",
}
_ZIP_METHODS = {
    1: "Shrink", 6: "Implode", 9: "Deflate64", 93: "zstd", 94: "MP3", 95: "xz", 96: "JPEG", 97: "WavPack",
    98: "PPMd", 99: "AES encryption",
}  # fmt: skip
_UNPACK = "unpack it with the program that made it (7-Zip reads most) and give the folder"
# The last five are what the two modules raise on archives whose numbers make no sense.
_DAMAGE: tuple[type[Exception], ...] = (
    tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, zlib.error, lzma.LZMAError,
    struct.error, UnicodeDecodeError, OverflowError, IndexError, MemoryError,
)  # fmt: skip


def open_container(path: str | Path) -> Folder | Tar | Zip:
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
    with path.open("rb") as stream:
        start = stream.read(8)
    if kind := next((kind for magic, kind in _OTHER_ARCHIVES.items() if start.startswith(magic)), None):
        raise ValueError(f"{path} is {kind}, which is not read here: {_UNPACK}.")
    if _is_numbered(path) and not tarfile.is_tarfile(path):
        raise ValueError(f"{path} is one part of an archive in several parts: join them, or {_UNPACK}.")
    return Tar(path)


def check_member_name(name: str, archive: object) -> str:
    """The relative POSIX path of an archive member; one that leads out of the archive is refused."""
    try:
        return relative(name)
    except ValueError as error:
        raise ValueError(
            f"{archive} contains the {error}: refused, get the archive from its official source."
        ) from None


def _is_skipped(relative: str) -> bool:
    return any(part.startswith(_SKIPPED_PREFIXES) or part.lower() in _SKIPPED for part in relative.split("/"))


def _is_numbered(path: Path) -> bool:
    """Whether a file is called as the parts of an archive are: data.zip.001, data.z01."""
    return path.suffix[1:].isdigit() or (path.suffix[:2].lower() == ".z" and path.suffix[2:].isdigit())


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
        return identity_of(self.path, self.names)

    def read(self, name: str) -> bytes:
        """Content of a file."""
        return (self.path / name).read_bytes()

    def stream(self, name: str) -> Any:
        """A file, open for reading."""
        return (self.path / name).open("rb")

    def position(self, name: str) -> Any:
        """Sort key that visits files in the order of the medium."""
        return name


def identity_of(folder: Path, names: Iterable[str]) -> str:
    """Hash of all names, sizes and modification times: cheap, and it changes when a file does."""
    digest = hashlib.sha256()
    for name in names:
        status = (folder / name).stat()
        digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


class _Archive:
    """What tar and zip share: opened and listed when first needed, known by the hash of the file."""

    _list: Any  # yields the stated name, the member, and whether it is a plain file or folder
    _is_directory: Any
    stream: Any

    def __init__(self, path: Path):
        self.path = path
        self._handle: Any = None

    @functools.cached_property
    def members(self) -> dict:
        """Every file and folder by its checked name, in the archive's order."""
        members = {}
        try:
            for raw_name, member, is_plain in self._list():
                name = check_member_name(raw_name, self.path)
                if not is_plain:
                    raise ValueError(
                        f"{self.path} contains {raw_name!r}, which is a link or a device: "
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
        reason = str(error).split("\n")[0].rstrip(":")[:200] or "it ends early"  # it may hold what is damaged
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

    def stream(self, name: str) -> Any:
        """A member as an open file."""
        return self._open().extractfile(self.members[name])

    def position(self, name: str) -> Any:
        """Where a member lies, so that many are read in this order."""
        return self.members[name].offset


class Zip(_Archive):
    """Members of a zip archive."""

    def _open(self) -> zipfile.ZipFile:
        if self._handle is None:
            self._handle = zipfile.ZipFile(self.path)
        return self._handle

    def _list(self):
        try:
            listed = self._open().infolist()
        except NotImplementedError as error:
            raise ValueError(f"{self.path} is a ZIP archive of another kind ({error}): {_UNPACK}.") from None
        for member in listed:
            if method := self._unread(member):
                raise ValueError(f"{self.path} is sound, but it uses {method}: {_UNPACK}.")
            yield member.filename, member, not stat.S_ISLNK(member.external_attr >> 16)

    @staticmethod
    def _unread(member) -> str | None:
        if member.flag_bits & 0x61:
            return "encryption or patches"
        method = member.compress_type
        read = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
        return None if method in read else f"the compression {_ZIP_METHODS.get(method, method)}"

    def _is_directory(self, member) -> bool:
        return member.is_dir()

    def stream(self, name: str) -> Any:
        """A member as an open file."""
        return self._open().open(self.members[name])

    def position(self, name: str) -> Any:
        """Where a member lies, so that many are read in this order."""
        return self.members[name].header_offset
