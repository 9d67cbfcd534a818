"""What the course can fetch, and where it lies: source, licence, size and hash of everything published.

The facts live in ``data/registry.json``; a value that is not known there is ``null`` with the reason in
``unknown``, and the first use records it (trust on first use). What was fetched lies in
``<cache>/fetched/<name>/`` together with ``receipt.json``, which lists the files with size and SHA-256.
Served over HTTP, ``<cache>/fetched`` is a mirror for other machines (without archives that were unpacked).

Checked by hand: models of pydantic were no shorter here, because paths, hashes and one-sentence errors need
validators of their own, and every command would load it.
"""

from __future__ import annotations

import fnmatch
import functools
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rs_course import paths
from rs_course.files import sha256, write_json

KINDS = ("dataset", "checkpoint", "scorer", "super-resolution")
_OWN = ("receipt.json", "listing.json")  # what this module writes beside the fetched files


@dataclass(frozen=True)
class File:
    """One file of an entry.

    Attributes:
        path: Name below the entry's folder.
        url: Where the official source has it, or None where only a person can get it.
        bytes: Exact size, or None.
        about_bytes: Rounded size as a listing shows it, or None.
        sha256: Hash, or None.
        unknown: Why a value is None.
        unpack: An archive that is unpacked after it was verified.
        what: Says how an alternative differs from the official file.

    Raises:
        ValueError: The path leads out of the entry's folder or to what the registry keeps there, or size or
            hash are none. Mirrors and hubs list files too, so that no list is trusted further than this.
    """

    path: str
    url: str | None = None
    bytes: int | None = None
    about_bytes: int | None = None
    sha256: str | None = None
    unknown: str = ""
    unpack: bool = False
    what: str = ""

    def __post_init__(self):
        if paths.relative(self.path) != self.path or self.path == "." or self.path.lower() in _OWN:
            raise ValueError(f"unsafe path {self.path!r}")
        for size in (self.bytes, self.about_bytes):
            if size is not None and (type(size) is not int or size < 0):
                raise ValueError(f"{self.path!r} has the size {size!r}")
        if self.sha256 is not None and not re.fullmatch("[0-9a-f]{64}", str(self.sha256)):
            raise ValueError(f"{self.path!r} has the SHA-256 {self.sha256!r}")

    @property
    def size(self) -> int | None:
        """Bytes, exact or rounded, or None."""
        return self.bytes or self.about_bytes


@dataclass(frozen=True)
class Entry:
    """One thing that can be fetched; where ``files`` is empty, the listing of ``hub["repo"]`` names them."""

    name: str
    kind: str
    title: str
    what: str
    licence: str
    citation: str
    homepage: str
    files: tuple[File, ...] = ()
    alternatives: tuple[File, ...] = ()
    hub: dict = field(default_factory=dict)
    manual_download: dict = field(default_factory=dict)
    # Files that are taken along when they are brought by hand: "only", "what".
    beside: dict = field(default_factory=dict)
    family: str | None = None
    image_size: tuple[int, int] | None = None
    parameters_millions: float | None = None
    parameters_note: str = ""
    quick_gelu: bool | None = None  # of OpenCLIP weights, whose files do not say which activation they have

    def __post_init__(self):
        told = (self.name, self.title, self.what, self.licence, self.citation, self.homepage)
        if self.kind not in KINDS or not all(isinstance(text, str) for text in told):
            raise ValueError(f"{self.name!r} is of the kind {self.kind!r} or lacks a text")
        for part in (self.hub or {"repo": "", "only": ()}, self.beside or {"what": "", "only": ()}):
            if not isinstance(part.get("repo", part.get("what")), str) or isinstance(part["only"], str):
                raise ValueError(f"{self.name!r} names no files of its source")
        if not isinstance(self.parameters_millions, int | float | None):
            raise ValueError(f"{self.name!r} has {self.parameters_millions!r} parameters")
        for path, digest in {self.name: None, **self.pinned}.items():
            File(path, about_bytes=self.hub.get("about_bytes"), sha256=digest)

    @property
    def folder(self) -> Path:
        """Where its files lie or belong."""
        return paths.cache_dir() / "fetched" / self.name

    @property
    def size(self) -> int | None:
        """Bytes to fetch, as far as known; None where a file's size is unknown."""
        if self.hub:
            return self.hub.get("about_bytes")
        sizes = [file.size for file in self.files]
        return None if None in sizes else sum(size for size in sizes if size)

    @property
    def memory(self) -> float | None:
        """Bytes of the weights in 16 bits: two for each parameter."""
        return self.parameters_millions * 2e6 if self.parameters_millions else None

    def receipt(self) -> dict[str, dict]:
        """``{path: {"bytes", "sha256", "from"}}`` of what was fetched; empty before."""
        file = self.folder / "receipt.json"
        content = _read(file, "delete it, and the files are verified again") if file.exists() else {}
        receipt_files(content, file)
        return content

    def verified(self, file: File) -> bool:
        """Whether this file was verified here and is still there with the size it had, or was unpacked."""
        recorded = self.receipt().get(file.path)
        path = self.folder / file.path
        if not recorded or file.sha256 not in (None, recorded["sha256"]):
            return False
        if file.unpack:
            return not path.exists()  # it is removed when all of it is unpacked
        return path.is_file() and path.stat().st_size == recorded["bytes"]

    def check(self, file: File, path: Path) -> str:
        """SHA-256 of what lies at ``path`` and is to be this file of the entry.

        Raises:
            ValueError: The registry has another hash, or its first use recorded another.
        """
        digest = sha256(path)
        recorded = self.receipt().get(file.path, {}).get("sha256")
        expected = file.sha256 or recorded
        if expected and digest != expected:
            whence = "" if file.sha256 else ", recorded on its first use"
            raise ValueError(
                f"{file.path} of {self.title} has the SHA-256 {digest[:12]}… instead of "
                f"{expected[:12]}…{whence}"
            )
        return digest

    def record(self, file: File, digest: str, size: int, origin: str) -> None:
        """Note a verified file in the receipt, which several processes may do at the same time."""
        from filelock import FileLock

        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / ".receipt.lock"):
            row = {"bytes": size, "sha256": digest, "from": origin}
            write_json(self.folder / "receipt.json", {**self.receipt(), file.path: row})

    def listing(self) -> tuple[File, ...]:
        """The entry's files: the registry's, or those that the first fetch found on the hub; empty before."""
        file = self.folder / "listing.json"
        if self.files or not file.exists():
            return self.files
        remedy = f"delete it, and fetch {self.name} again"
        return self.listed(files_of(_read(file, remedy), file))

    def wants(self, path: str) -> bool:
        """Whether a repository's file belongs to the entry (or goes along with it, where it has its own)."""
        patterns = (self.hub or self.beside).get("only", ())
        foreign = path.lower() in _OWN or any(part.startswith(".") for part in path.split("/"))
        return not foreign and any(fnmatch.fnmatch(path, pattern) for pattern in patterns)

    @property
    def pinned(self) -> dict[str, str]:
        """Hashes of files of the hub that the registry knows."""
        return self.hub.get("sha256", {})

    def listed(self, files: Iterable[File]) -> tuple[File, ...]:
        """The entry's part of what a mirror or hub lists: a hash that the registry pins wins, and a file with
        such a hash belongs to the entry even if it is not listed.
        """
        found = {path: File(path) for path in self.pinned} | {f.path: f for f in files if self.wants(f.path)}
        for path, digest in self.pinned.items():
            found[path] = replace(found[path], sha256=digest, bytes=None)
        return tuple(found.values())

    def keep_listing(self, files: Iterable[File]) -> None:
        """Remember the files of the entry, so that an interrupted fetch goes on with the same ones."""
        write_json(self.folder / "listing.json", [asdict(file) for file in files])

    def local_files(self) -> list[Path]:
        """The usable files on this machine, official ones first; empty if something is missing."""
        for group in (self.listing(), *((alternative,) for alternative in self.alternatives)):
            if group and all(self._present(file) for file in group):
                return [self._unpacked() if file.unpack else self.folder / file.path for file in group]
        return []

    def fallback(self) -> File | None:
        """The alternative that is here in place of the official files, or None."""
        files = self.local_files()
        return next((file for file in self.alternatives if [self.folder / file.path] == files), None)

    def _unpacked(self) -> Path:
        """Where the content of an unpacked archive begins: its own single folder, if it has one."""
        there = self.folder.iterdir()
        inside = [path for path in there if path.name not in _OWN and not path.name.startswith(".")]
        return inside[0] if len(inside) == 1 and inside[0].is_dir() else self.folder

    def _present(self, file: File) -> bool:
        path = self.folder / file.path
        put_there = not file.unpack and path.is_file() and file.bytes in (None, path.stat().st_size)
        return put_there or self.verified(file)


def receipt_files(content: Any, source: Any) -> dict[str, File]:
    """Files by path as a receipt states them, of this machine or of a mirror.

    Raises:
        ValueError: Another form, or a path that leads elsewhere.
    """
    try:
        return {path: File(path, bytes=row["bytes"], sha256=row["sha256"]) for path, row in content.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{source} is no list of fetched files ({_reason(error)}).") from None


def files_of(rows: Any, source: Any) -> tuple[File, ...]:
    """Files as the registry or a listing states them.

    Raises:
        ValueError: Another form, or a path that leads elsewhere.
    """
    try:
        return tuple(File(**row) for row in rows)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{source} is no list of files ({_reason(error)}).") from None


def _reason(error: Exception) -> str:
    """An error that may quote any text, on one line."""
    return " ".join(str(error).split())[:200]


def _read(file: Path, remedy: str):
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise ValueError(f"{file} is damaged: {remedy}.") from None


@functools.lru_cache(maxsize=1)
def entries() -> dict[str, Entry]:
    """All entries by name.

    Raises:
        ValueError: The registry's file is damaged.
    """
    file = paths.data_dir() / "registry.json"
    remedy = "restore it with 'git checkout -- data', or install the package again"
    stored, result = _read(file, remedy), {}
    try:
        for name, values in stored["entries"].items():
            values = {key: value for key, value in values.items() if value is not None}
            lists = {key: files_of(values.get(key, ()), name) for key in ("files", "alternatives")}
            if "by_hand" in values:  # as it was called before version 1.1
                values["manual_download"] = values.pop("by_hand")
            size = {"image_size": tuple(values["image_size"])} if values.get("image_size") else {}
            result[name] = Entry(**{**values, **lists, **size, "name": name})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{file} does not describe what can be fetched ({_reason(error)}): {remedy}."
        ) from None
    return result


def names(kind: str | None = None) -> list[str]:
    """Names of one kind (see :data:`KINDS`), or of all."""
    return [name for name, entry in entries().items() if kind in (None, entry.kind)]


def find(name: str | Path, kind: str | None = None) -> Entry | None:
    """The entry of that name (and kind), or None."""
    entry = entries().get(str(name))
    return entry if entry and kind in (None, entry.kind) else None


def get(name: str) -> Entry:
    """The entry of that name.

    Raises:
        ValueError: There is none; the message lists what there is.
    """
    entry = find(name)
    if entry is None:
        raise ValueError(f"There is nothing named {name!r} to fetch: use one of {', '.join(names())}.")
    return entry


def identify(sha256: str) -> Entry | None:
    """The entry to which a file with this hash belongs, or None."""
    for entry in entries().values():
        if sha256 in [file.sha256 for file in (*entry.files, *entry.alternatives)]:
            return entry
    return None


def require(name: str) -> list[Path]:
    """Files of a fetched entry (for an unpacked archive, its folder).

    Raises:
        FileNotFoundError: Not on this machine; the message names the command and the folder.
        ValueError: No such entry, or a file that was put there by hand has the wrong hash.
    """
    entry = get(name)
    files = entry.local_files()
    if not files:
        size = f" ({readable(entry.size)})" if entry.size else ""
        manual = f"put {', '.join(file.path for file in entry.files)} into {entry.folder}"
        if entry.hub:
            manual = f"'rs-course fetch {name} --from FOLDER' to copy {entry.hub['repo']} into {entry.folder}"
        raise FileNotFoundError(
            f"{entry.title} is not on this machine: run 'rs-course fetch {name}'{size}, or {manual}."
        )
    for file in (*entry.listing(), *entry.alternatives):
        path = entry.folder / file.path
        if path in files and not entry.verified(file):
            try:
                digest = entry.check(file, path)
            except ValueError as error:
                raise ValueError(f"{error}: remove {path}, then run 'rs-course fetch {name}'.") from None
            entry.record(file, digest, path.stat().st_size, "put into the folder by hand")
    return files


def readable(size: float | None) -> str:
    """A size for people: "94 MB", or "?" where it is not known."""
    if size is None:
        return "?"
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            value = size / scale
            return f"{value:.0f} {unit}" if value >= 10 else f"{value:.1f} {unit}"
    return f"{size:.0f} B"
