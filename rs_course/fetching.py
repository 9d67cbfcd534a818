"""From the registry to this machine: list, check the disk, download, verify, unpack.

Every file is verified before it counts. Where nobody published a hash, the first use records and tells it,
and every later fetch must agree (trust on first use).
"""

from __future__ import annotations

import fnmatch
import os
import shutil
from pathlib import Path

from rs_course import registry
from rs_course.datasets.containers import open_container
from rs_course.download import download, read_json
from rs_course.hashing import sha256
from rs_course.registry import Entry, File, readable

HUB = "https://huggingface.co"


def fetch(name: str, *, mirror: str | None = None, source: str | Path | None = None, say=print) -> list[Path]:
    """Bring an entry of the registry onto this machine.

    Args:
        name: Its name, e.g. ``"eurosat"``.
        mirror: Base address that holds ``<name>/<file>``, used instead of the official sources; the
            environment variable ``RS_COURSE_MIRROR`` is the default. (``HF_ENDPOINT`` replaces the hub's
            address alone.)
        source: A file or folder that was brought by hand, instead of a download.
        say: Where the messages go.

    Returns:
        The usable files (see :func:`rs_course.registry.require`).

    Raises:
        ValueError: Unknown name, wrong size or hash, or a file that does not belong to the entry.
        OSError: No connection, no such file at the source, or too little disk space.
    """
    entry = registry.get(name)
    if source is not None:
        _take_over(entry, Path(source).expanduser(), say)
        return entry.here()
    if entry.here() and not entry.stand_in():
        say(f"{entry.title} is already in {entry.folder}.")
        return registry.require(name)
    mirror = mirror or os.environ.get("RS_COURSE_MIRROR")
    if entry.by_hand and not mirror:
        files = ", ".join(file.path for file in entry.files)
        raise OSError(
            f"{entry.title} cannot be fetched by a program ({entry.by_hand['why']}): download {files} from "
            f"{entry.by_hand['page']} and run 'rs-course fetch {name} --from FILE'."
        )
    files = listing(entry, mirror)
    _check_disk(entry, files)
    for file in files:
        if entry.verified(file):
            continue
        url = f"{mirror.rstrip('/')}/{name}/{file.path}" if mirror else _official(file.url)
        if not (entry.folder / file.path).exists():  # else it waits to be verified or unpacked
            download(url, entry.folder / file.path, size=file.bytes)
        _accept(entry, file, url, say)
    return registry.require(name)


def listing(entry: Entry, mirror: str | None = None) -> list[File]:
    """The files to fetch: as the registry pins them, or as the mirror or the hub listed them at first."""
    if entry.files:
        return _offered(entry, mirror) if mirror and entry.alternatives else list(entry.files)
    known = entry.listing()
    if known and (mirror or all(file.url for file in known)):
        return list(known)
    if mirror:
        receipt = read_json(f"{mirror.rstrip('/')}/{entry.name}/receipt.json")
        files = [File(path, bytes=row["bytes"], sha256=row["sha256"]) for path, row in receipt.items()]
    else:
        files = _hub_listing(entry)
    entry.keep_listing(files)
    return files


def _offered(entry: Entry, mirror: str) -> list[File]:
    """The official files, or the subset if the mirror's receipt says that it has only that."""
    try:
        receipt = read_json(f"{mirror.rstrip('/')}/{entry.name}/receipt.json")
    except OSError:  # a mirror without receipts; if it cannot be reached at all, the download says so
        return list(entry.files)
    subsets = [file for file in entry.alternatives if file.path in receipt]
    is_whole = all(file.path in receipt for file in entry.files)
    return subsets[:1] if subsets and not is_whole else list(entry.files)


def _hub_listing(entry: Entry) -> list[File]:
    repo, api = entry.hub["repo"], f"{_official(HUB)}/api/models/{entry.hub['repo']}"
    revision = entry.hub["revision"] or read_json(api)["sha"]
    pinned = entry.hub.get("sha256", {})
    files = [
        File(
            row["path"],
            url=f"{HUB}/{repo}/resolve/{revision}/{row['path']}",
            bytes=row["size"],
            sha256=pinned.get(row["path"]) or row.get("lfs", {}).get("oid"),
        )
        for row in read_json(f"{api}/tree/{revision}?recursive=true")
        if row["type"] == "file" and _wanted(entry, row["path"])
    ]
    if not files:
        raise OSError(f"{repo} on the hub lists none of the files {', '.join(entry.hub['only'])}.")
    return files


def _wanted(entry: Entry, path: str) -> bool:
    return any(fnmatch.fnmatch(path, pattern) for pattern in entry.hub["only"])


def _official(url: str) -> str:
    return url.replace(HUB, os.environ.get("HF_ENDPOINT", HUB).rstrip("/"), 1)


def _check_disk(entry: Entry, files: list[File]):
    entry.folder.mkdir(parents=True, exist_ok=True)
    # An archive that will be unpacked needs room for its content as well.
    needed = sum((file.size or 0) * (2 if file.unpack else 1) for file in files if not entry.verified(file))
    needed -= sum(part.stat().st_size for part in entry.folder.rglob("*.part"))
    free = shutil.disk_usage(entry.folder).free
    if needed > free:
        raise OSError(
            f"{entry.title} needs {readable(needed)} in {entry.folder}, {readable(free)} are free: make "
            "room or set RS_COURSE_CACHE to another disk."
        )


def _accept(entry: Entry, file: File, origin: str, say):
    is_new = file.sha256 is None and file.path not in entry.receipt()
    digest = entry.record(file, origin)
    if is_new and not entry.hub:  # on the hub, the commit in the address pins what has no hash of its own
        say(f"{file.path}: no hash is published for it; recorded SHA-256 {digest} on this first use.")
    size = readable((entry.folder / file.path).stat().st_size)
    if file.unpack:
        unpack(entry.folder / file.path)
    say(f"{file.path}: {size}, verified, in {entry.folder}.")


def unpack(archive: Path):
    """Unpack a tar or zip into its own folder and remove it; unsafe names, links and devices are refused."""
    container = open_container(archive)
    for name in container.names:
        target = archive.parent / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with container.stream(name) as stream, open(target, "wb") as file:
            shutil.copyfileobj(stream, file, 1 << 20)
    archive.unlink()


def _take_over(entry: Entry, source: Path, say):
    """Copy what was brought by hand into the entry's folder, once it is clear which of its files it is."""
    if not source.exists():
        raise FileNotFoundError(f"There is no file or folder {source}.")
    brought = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())
    recognised = [(path, file) for path in brought if (file := _recognise(entry, path, source))]
    if not recognised:
        known = ", ".join(file.path for file in (*entry.files, *entry.alternatives))
        wanted = known or ", ".join(entry.hub["only"])
        raise ValueError(
            f"{source} is not a file of {entry.title}, which wants {wanted} (compared by SHA-256 where it is "
            "published); a folder or archive of your own loads by its path."
        )
    for path, file in recognised:
        target = entry.folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(target.parent).free
        if path.stat().st_size > free:
            size = readable(path.stat().st_size)
            raise OSError(f"Copying {path.name} needs {size} in {target.parent}: make room.")
        part = target.with_name(target.name + ".part")
        shutil.copyfile(path, part)
        os.replace(part, target)
        _accept(entry, file, str(path), say)
    if entry.hub:
        entry.keep_listing([file for _, file in recognised])
    missing = [file.path for file in entry.files if not entry.verified(file)]
    if missing and not entry.here():
        say(f"Still missing for {entry.title}: {', '.join(missing)}.")


def _recognise(entry: Entry, path: Path, source: Path) -> File | None:
    """Which file of the entry this is: by hash where one is published, otherwise by name."""
    if entry.hub:
        relative = path.name if path == source else path.relative_to(source).as_posix()
        return File(relative) if _wanted(entry, relative) else None
    candidates = [*entry.files, *entry.alternatives]
    digest = sha256(path)
    by_hash = (file for file in candidates if file.sha256 == digest)
    by_name = (file for file in candidates if file.sha256 is None and file.path == path.name)
    return next(by_hash, None) or next(by_name, None)
