"""What the course can fetch, and where it lies: source, licence, size and hash of everything published.

The facts live in ``data/registry.json``; a value that is not known there is ``null`` with the reason in
``unknown``, and the first use records it (trust on first use). What was fetched lies in
``<cache>/fetched/<name>/`` together with ``receipt.json``, which lists the files with size and SHA-256.
Served over HTTP, ``<cache>/fetched`` is a mirror for other machines (without archives that were unpacked).
"""

from __future__ import annotations

import functools
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from rs_course import paths
from rs_course.hashing import sha256

KINDS = ("dataset", "checkpoint", "scorer", "super-resolution")


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
    """

    path: str
    url: str | None = None
    bytes: int | None = None
    about_bytes: int | None = None
    sha256: str | None = None
    unknown: str = ""
    unpack: bool = False
    what: str = ""

    @property
    def size(self) -> int | None:
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
    hub: dict | None = None
    by_hand: dict | None = None
    family: str | None = None
    image_size: tuple[int, int] | None = None
    parameters_millions: float | None = None
    parameters_note: str = ""
    quick_gelu: bool | None = None  # of OpenCLIP weights, whose files do not say which activation they have

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
        return None if None in sizes else sum(sizes)

    @property
    def memory(self) -> float | None:
        """Bytes of the weights in 16 bits: two for each parameter."""
        return self.parameters_millions * 2e6 if self.parameters_millions else None

    def receipt(self) -> dict[str, dict]:
        """``{path: {"bytes", "sha256", "from"}}`` of what was fetched; empty before."""
        file = self.folder / "receipt.json"
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}

    def verified(self, file: File) -> bool:
        """Whether this file was verified here and is still there with the size it had, or was unpacked."""
        recorded = self.receipt().get(file.path)
        path = self.folder / file.path
        if file.unpack:
            return bool(recorded) and not path.exists()  # it is removed when all of it is unpacked
        return bool(recorded) and path.is_file() and path.stat().st_size == recorded["bytes"]

    def record(self, file: File, origin: str) -> str:
        """Verify a complete file against the registry, or against what its first use recorded; note it.

        Returns:
            Its SHA-256.

        Raises:
            ValueError: Another hash; the file is removed.
        """
        path = self.folder / file.path
        digest = sha256(path)
        receipt = self.receipt()
        expected = file.sha256 or receipt.get(file.path, {}).get("sha256")
        if expected and digest != expected:
            path.unlink()
            raise ValueError(
                f"{file.path} of {self.title} has the SHA-256 {digest[:12]}… instead of {expected[:12]}…: "
                "it was removed; fetch it again, and if that repeats, do not trust the source."
            )
        receipt[file.path] = {"bytes": path.stat().st_size, "sha256": digest, "from": origin}
        self._write("receipt.json", receipt)
        return digest

    def listing(self) -> tuple[File, ...]:
        """The entry's files: the registry's, or those that the first fetch found on the hub; empty before."""
        file = self.folder / "listing.json"
        if self.files or not file.exists():
            return self.files
        return tuple(File(**row) for row in json.loads(file.read_text(encoding="utf-8")))

    def keep_listing(self, files):
        """Remember the files of the entry, so that an interrupted fetch goes on with the same ones."""
        self._write("listing.json", [asdict(file) for file in files])

    def _write(self, name: str, content):
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / f".{name}.{os.getpid()}"
        partial.write_text(json.dumps(content, indent=1), encoding="utf-8")
        os.replace(partial, self.folder / name)

    def here(self) -> list[Path]:
        """The usable files on this machine, official ones first; empty if something is missing."""
        for group in (self.listing(), *((alternative,) for alternative in self.alternatives)):
            if group and all(self._present(file) for file in group):
                return [self._unpacked() if file.unpack else self.folder / file.path for file in group]
        return []

    def stand_in(self) -> File | None:
        """The alternative that is here in place of the official files, or None."""
        files = self.here()
        return next((file for file in self.alternatives if [self.folder / file.path] == files), None)

    def _unpacked(self) -> Path:
        """Where the content of an unpacked archive begins: its own single folder, if it has one."""
        inside = [path for path in self.folder.iterdir() if path.name not in ("receipt.json", "listing.json")]
        return inside[0] if len(inside) == 1 and inside[0].is_dir() else self.folder

    def _present(self, file: File) -> bool:
        path = self.folder / file.path
        by_hand = not file.unpack and path.is_file() and file.bytes in (None, path.stat().st_size)
        return by_hand or self.verified(file)


@functools.lru_cache(maxsize=1)
def entries() -> dict[str, Entry]:
    """All entries by name."""
    stored = json.loads((paths.data_dir() / "registry.json").read_text(encoding="utf-8"))["entries"]
    result = {}
    for name, values in stored.items():
        for key in ("files", "alternatives"):
            values[key] = tuple(File(**file) for file in values.get(key, ()))
        if values.get("image_size"):
            values["image_size"] = tuple(values["image_size"])
        result[name] = Entry(name=name, **values)
    return result


def names(kind: str | None = None) -> list[str]:
    """Names of one kind (see :data:`KINDS`), or of all."""
    return [name for name, entry in entries().items() if kind in (None, entry.kind)]


def find(name, kind: str | None = None) -> Entry | None:
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
    files = entry.here()
    if not files:
        size = f" ({readable(entry.size)})" if entry.size else ""
        by_hand = f"put {', '.join(file.path for file in entry.files)} into {entry.folder}"
        if entry.hub:
            by_hand = (
                f"'rs-course fetch {name} --from FOLDER' to copy {entry.hub['repo']} into {entry.folder}"
            )
        raise FileNotFoundError(
            f"{entry.title} is not on this machine: run 'rs-course fetch {name}'{size}, or {by_hand}."
        )
    for file in (*entry.listing(), *entry.alternatives):
        if entry.folder / file.path in files and not entry.verified(file):
            entry.record(file, "put into the folder by hand")
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
