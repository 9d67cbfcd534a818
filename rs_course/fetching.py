"""From the registry to this machine: list, check the disk, download, verify, unpack.

Every file is verified before it counts. Where nobody published a hash, the first use records and tells it,
and every later fetch must agree (trust on first use).
"""

from __future__ import annotations

import json
import lzma
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

from rs_course import paths, registry
from rs_course.datasets.containers import open_container
from rs_course.deprecation import old_arguments
from rs_course.files import download, read_json, refuse_text, sha256, write_json
from rs_course.registry import Entry, File, files_of, readable, receipt_files

HUB = "https://huggingface.co"


@old_arguments(say="progress")
def fetch(
    name: str,
    *,
    mirror: str | None = None,
    source: str | Path | None = None,
    progress: Callable[[str], None] = print,
) -> list[Path]:
    """Bring an entry of the registry onto this machine.

    Args:
        name: Its name, e.g. ``"eurosat"``.
        mirror: Base address that holds ``<name>/<file>``, used instead of the official sources; the
            environment variable ``RS_COURSE_MIRROR`` is the default. (``HF_ENDPOINT`` replaces the hub's
            address alone.)
        source: A file or folder that was brought by hand, instead of a download.
        progress: Where the messages go.

    Returns:
        The usable files (see :func:`rs_course.registry.require`).

    Raises:
        ValueError: Unknown name, wrong size or hash, a file that does not belong to the entry, or a path that
            leads out of its folder.
        OSError: No connection, no such file at the source, or too little disk space.
    """
    entry = registry.get(name)
    mirror = mirror or os.environ.get("RS_COURSE_MIRROR")
    if source is None and entry.local_files() and not entry.fallback():  # where nothing may be written, too
        progress(f"{entry.title} is already in {entry.folder}.")
        return registry.require(name)
    with _alone(entry, progress):
        if source is not None:
            _take_over(entry, Path(source).expanduser(), progress)
            return entry.local_files()
        if not entry.local_files() or entry.fallback():  # else another process has brought it meanwhile
            _download(entry, mirror, progress)
        return registry.require(name)


@contextmanager
def _alone(entry: Entry, progress):
    """Wait while another process brings the same entry: two would write into the same files."""
    from filelock import FileLock, Timeout

    entry.folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(entry.folder / ".fetch.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress(f"Another process is fetching {entry.title}: waiting for it.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _download(entry: Entry, mirror: str | None, progress):
    if mirror and not mirror.startswith(("http://", "https://")):
        raise ValueError(
            f"The mirror {mirror!r} is no address: it begins with http:// or https:// (a file or folder on "
            "this machine is taken with --from)."
        )
    if entry.manual_download and not mirror:
        wanted, by_hand = ", ".join(file.path for file in entry.files), entry.manual_download
        raise OSError(
            f"{entry.title} cannot be fetched by a program ({by_hand['why']}): download {wanted} from "
            f"{by_hand['page']} and run 'rs-course fetch {entry.name} --from FILE'."
        )
    files = listing(entry, mirror)
    _check_disk(entry, files)
    for file in files:
        if entry.verified(file):
            continue
        path = entry.folder / file.path
        url = f"{mirror.rstrip('/')}/{entry.name}/{file.path}" if mirror else _official(entry, file)
        was_here = path.exists()  # it waits to be verified or unpacked, or was put there by hand
        if not was_here:
            download(url, path, size=file.bytes)
        try:
            digest = entry.check(file, path)
            refuse_text(path)
        except ValueError as error:
            if was_here:
                raise ValueError(f"{_clause(error)}: remove {path}, then fetch {entry.name} again.") from None
            path.unlink()
            raise ValueError(
                f"{_clause(error)}: it was removed; fetch it again, and if that repeats, do not trust the "
                "source."
            ) from None
        _accept(entry, file, path, digest, url, progress)


def listing(entry: Entry, mirror: str | None = None) -> list[File]:
    """The files to fetch: as the registry pins them, or as the mirror or the hub listed them at first.

    Raises:
        OSError: The mirror or the hub does not answer, or with another form.
    """
    if entry.files:
        return _offered(entry, mirror) if mirror and entry.alternatives else list(entry.files)
    known = entry.listing()
    if known and (mirror or all(file.url for file in known)):
        return list(known)
    files = list(entry.listed(_receipt(entry, mirror).values() if mirror else _hub_listing(entry)))
    if not files:
        source = mirror or f"{entry.hub['repo']} on the hub"
        raise OSError(f"{source} lists none of the files {', '.join(entry.hub['only'])}.")
    entry.keep_listing(files)
    return files


def _receipt(entry: Entry, mirror: str) -> dict[str, File]:
    url = f"{mirror.rstrip('/')}/{entry.name}/receipt.json"
    return receipt_files(read_json(url), url)


def _offered(entry: Entry, mirror: str) -> list[File]:
    """The official files, or the subset if the mirror's receipt says that it has only that."""
    try:
        receipt = _receipt(entry, mirror)
    except OSError:  # a mirror without receipts; if it cannot be reached at all, the download says so
        return list(entry.files)
    subsets = [file for file in entry.alternatives if file.path in receipt]
    is_whole = all(file.path in receipt for file in entry.files)
    return subsets[:1] if subsets and not is_whole else list(entry.files)


def _hub_listing(entry: Entry) -> tuple[File, ...]:
    repo, api = entry.hub["repo"], f"{_hub()}/api/models/{entry.hub['repo']}"
    try:
        revision = entry.hub["revision"] or read_json(api)["sha"]
        rows = [
            {
                "path": row["path"],
                "url": f"{HUB}/{repo}/resolve/{revision}/{row['path']}",
                "bytes": row["size"],
                "sha256": row.get("lfs", {}).get("oid"),
            }
            for row in read_json(f"{api}/tree/{revision}?recursive=true")
            if row["type"] == "file" and entry.wants(row["path"])
        ]
    except (AttributeError, KeyError, TypeError) as error:
        raise OSError(f"{api} answers in a form that is not the hub's ({error!r}).") from None
    return files_of(rows, api)


def _hub() -> str:
    return os.environ.get("HF_ENDPOINT", HUB).rstrip("/")


def _official(entry: Entry, file: File) -> str:
    if file.url is None:
        raise OSError(
            f"{entry.title} needs {file.path}, which its source does not list: bring it by hand with --from."
        )
    return file.url.replace(HUB, _hub(), 1)


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


def _accept(entry: Entry, file: File, path: Path, digest: str, origin: str, progress):
    """Make the checked file at ``path`` the entry's; an archive counts only when all of it is unpacked."""
    is_new = file.sha256 is None and file.path not in entry.receipt()
    size, target = path.stat().st_size, entry.folder / file.path
    if file.unpack:
        unpack(path, target.parent)
    elif path != target:
        os.replace(path, target)
    entry.record(file, digest, size, origin)
    if file.unpack:
        target.unlink(missing_ok=True)
    if is_new and not entry.hub:  # on the hub, the commit in the address pins what has no hash of its own
        progress(f"{file.path}: no hash is published for it; recorded SHA-256 {digest} on this first use.")
    progress(f"{file.path}: {readable(size)}, verified, in {entry.folder}.")


def from_hub(repository: str) -> Path:
    """A repository of the Hugging Face hub, from its cache or downloaded; only weights, configs and
    vocabularies.

    Args:
        repository: ``owner/name``, or ``owner/name@revision``. Without a revision, the one of the first use
            is kept in the cache's ``hub.json``, so that a name does not change its meaning.

    Raises:
        FileNotFoundError: No such repository or revision, or it is out of reach.
        OSError: The files cannot be stored.
    """
    from huggingface_hub import errors as hub
    from huggingface_hub import snapshot_download

    name, _, revision = repository.partition("@")
    pins_file = paths.cache_dir() / "hub.json"
    pins = json.loads(pins_file.read_text(encoding="utf-8")) if pins_file.is_file() else {}
    wanted = ["*.json", "*.txt", "*.safetensors", "*.bin"]
    try:
        folder = Path(snapshot_download(name, revision=revision or pins.get(name), allow_patterns=wanted))
    except hub.GatedRepoError:
        reason = "is open only to those who accept its licence on huggingface.co and log in with a token"
    except hub.RevisionNotFoundError:
        reason = f"has no revision {revision or pins.get(name)!r}"
    except (hub.RepositoryNotFoundError, hub.HFValidationError):
        reason = "is neither a folder here nor a repository of the Hugging Face hub"
    except (hub.HfHubHTTPError, hub.LocalEntryNotFoundError, hub.OfflineModeIsEnabled, ConnectionError):
        reason = "is neither a folder here nor in the cache, and the Hugging Face hub is out of reach"
    except OSError as error:
        raise OSError(f"{repository!r} cannot be stored in the Hugging Face cache ({error}).") from None
    else:
        if not revision and name not in pins:
            write_json(pins_file, {**pins, name: folder.name})
        return folder
    raise FileNotFoundError(f"{repository!r} {reason}.")


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar or zip into a folder; unsafe names, links and devices are refused.

    Raises:
        ValueError: No archive, one that is damaged, or of a kind that cannot be read here.
        OSError: The disk is full.
    """
    container = open_container(archive)
    for name in container.names:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with container.stream(name) as stream, open(target, "wb") as file:
                shutil.copyfileobj(stream, file, 1 << 20)
        except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError) as error:
            raise ValueError(f"{archive} is damaged at {name} ({error}): download or copy it again") from None


def _take_over(entry: Entry, source: Path, progress):
    """Copy what was brought by hand into the entry's folder, once it is clear which of its files it is."""
    if not source.exists():
        raise FileNotFoundError(f"There is no file or folder {source}.")
    brought = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())
    recognised = [(path, file) for path in brought if (file := _recognise(entry, path, source))]
    own = (*entry.files, *entry.alternatives)
    if not any(entry.hub or file in own for _, file in recognised):
        wanted = ", ".join(file.path for file in own) or ", ".join(entry.hub["only"])
        raise ValueError(
            f"{source} is not a file of {entry.title}, which wants {wanted} (compared by SHA-256 where it is "
            "published); a folder or archive of your own loads by its path."
        )
    for path, file in recognised:
        _take(entry, path, file, progress)
    if entry.hub:
        taken = {file.path for _, file in recognised}
        entry.keep_listing([f for f in entry.listing() if f.path not in taken] + [f for _, f in recognised])
    missing = [file.path for file in entry.listing() if not entry.verified(file)]
    if missing and not entry.local_files():
        progress(f"Still missing for {entry.title}: {', '.join(missing)}.")
    there = (path.relative_to(entry.folder).as_posix() for path in entry.folder.rglob("*"))
    if entry.beside and not any(map(entry.wants, there)):
        progress(f"{entry.title} also needs {entry.beside['what']}.")


def _take(entry: Entry, path: Path, file: File, progress):
    """Verify and copy one file; what is here already is replaced only by what passes."""
    target = entry.folder / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    size, free = path.stat().st_size, shutil.disk_usage(target.parent).free
    if size > free:
        raise OSError(f"Copying {path.name} needs {readable(size)} in {target.parent}: make room.")
    refuse_text(path)
    part = path if file.unpack else target.with_name(f".{target.name}.{os.getpid()}")
    try:
        if part != path:
            shutil.copyfile(path, part)
        _accept(entry, file, part, entry.check(file, part), str(path), progress)
    except ValueError as error:
        raise ValueError(f"{path} was not taken over: {_clause(error)}.") from None
    finally:
        if part != path:
            part.unlink(missing_ok=True)


def _clause(error: Exception) -> str:
    """An error's sentence, to be continued."""
    return str(error).removesuffix(".")


def _recognise(entry: Entry, path: Path, source: Path) -> File | None:
    """Which file of the entry this is: by hash where one is published, otherwise by name."""
    relative = path.name if path == source else path.relative_to(source).as_posix()
    goes_along = File(relative, sha256=entry.pinned.get(relative)) if entry.wants(relative) else None
    if entry.hub:
        return goes_along
    candidates = [*entry.files, *entry.alternatives]
    digest = sha256(path)
    by_hash = (file for file in candidates if file.sha256 == digest)
    by_name = (file for file in candidates if file.sha256 is None and file.path == path.name)
    return next(by_hash, None) or next(by_name, None) or goes_along
