"""One file over HTTP: progress, resume after an interruption, and a sentence when the network says no.

Written by hand, because pooch begins a broken download again, and huggingface_hub's snapshots know neither a
plain mirror nor one receipt for hubs, archives and files that were brought by hand.
"""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any

_CHUNK = 1 << 20
_ATTEMPTS = 4
_TIMEOUT = 30  # seconds without a byte
_NETWORK = (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError, EOFError)


def download(url: str, target: Path, *, size: int | None = None) -> Path:
    """Download one file, continuing ``<target>.part`` where an earlier attempt stopped.

    Args:
        url: HTTP(S) address.
        target: Where the complete file goes; it appears there only when it is complete.
        size: Exact size, if known; another size is an error.

    Raises:
        OSError: The server cannot be reached, does not have the file, or broke off too often.
        ValueError: The file is complete but has another size.
    """
    part = target.with_name(target.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(_ATTEMPTS):
        try:
            _continue(url, part)
            break
        except urllib.error.HTTPError as error:
            raise OSError(_refused(url, error)) from None
        except _NETWORK as error:
            if attempt + 1 == _ATTEMPTS or not part.exists():
                raise OSError(unreachable(url, error)) from error
            time.sleep(2**attempt / 4)
    found = part.stat().st_size
    if size is not None and found != size:
        part.unlink()
        raise ValueError(f"{url} has {found:,} bytes instead of {size:,}: the source changed or is damaged.")
    os.replace(part, target)
    return target


def read_json(url: str) -> Any:
    """A JSON document from the network.

    Raises:
        OSError: It cannot be fetched or is not JSON.
    """
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise OSError(_refused(url, error)) from None
    except _NETWORK as error:
        raise OSError(unreachable(url, error)) from error
    except (ValueError, RecursionError):
        raise OSError(f"{url} answers with something that is not JSON: check the mirror's address.") from None


def _refused(url: str, error: urllib.error.HTTPError) -> str:
    return f"{url} answers {error.code} ({error.reason}): check the name or the mirror."


def unreachable(url: str, error: Exception) -> str:
    """What to tell a person whose download failed."""
    host = urllib.parse.urlsplit(url).netloc
    reason = getattr(error, "reason", None) or error
    return (
        f"{host} cannot be reached ({reason}): check the network, name a mirror with --mirror, or bring the "
        "file by hand and use --from; what was downloaded so far is kept."
    )


def _continue(url: str, part: Path):
    """Append to ``part`` what is missing; start over where the server cannot resume or has another file."""
    from tqdm.auto import tqdm

    tag_file = part.with_name(part.name + ".etag")
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "rs-course"})
    if have:
        request.add_header("Range", f"bytes={have}-")
        if tag_file.exists():
            request.add_header("If-Range", tag_file.read_text())
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing is left to send: the part is complete
            return
        raise
    with response:
        resumed = response.status == 206
        have = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        if tag := response.headers.get("ETag"):
            tag_file.write_text(tag)
        name = part.name.removesuffix(".part")
        bar = tqdm(total=total, initial=have, desc=name, unit="B", unit_scale=True, disable=None, leave=False)
        with bar, open(part, "ab" if resumed else "wb") as file:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    if total is not None and part.stat().st_size < total:
        raise EOFError("the connection broke off")
    tag_file.unlink(missing_ok=True)
