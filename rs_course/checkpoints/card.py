"""A checkpoint's card: where it comes from, and the SHA-256 of every weight file.

``card.json`` lies in the checkpoint's folder and is written by :func:`write_card`. Where it states hashes,
``load`` verifies them before it opens a weight file; at the size of the course's minis that costs a few
hundredths of a second.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from rs_course.files import sha256, write_json

from .layout import shared_parts
from .weights import read_json

if TYPE_CHECKING:
    from .layout import Layout

CARD = "card.json"


@dataclass
class Card:
    """Where a checkpoint comes from.

    Attributes:
        source: Record, repository or command that made it.
        licence: Its licence, as stated there.
        training_data: What it was trained on.
        files: The weight files that ``hash`` covers.
    """

    source: str
    licence: str
    training_data: str
    files: list[Path] = field(default_factory=list, repr=False)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the weight files' own SHA-256 sums, in sorted order, so that it tells the weights apart
        wherever they lie; computed when asked.
        """
        import hashlib

        return hashlib.sha256("".join(sorted(map(sha256, self.files))).encode()).hexdigest()

    def __getitem__(self, key: str) -> str:
        return getattr(self, key)


def write_card(
    folder: str | Path, *, source: str, licence: str, training_data: str, settings: dict | None = None, **more
) -> Path:
    """Write ``card.json`` of a finished checkpoint; call it last, and again after any weight file changed.

    Args:
        folder: The checkpoint. The hashes of every ``.safetensors`` file below it are recorded, and of those
            that ``_shared_parts`` of its ``model_index.json`` names: a generator belongs to one VAE.
        source: Record, repository or command that made it.
        licence: Its licence.
        training_data: What it was trained on.
        settings: What ``sample`` uses where a call says nothing: ``steps``, ``guidance``,
            ``guidance_interval``, ``sampler``, ``size``.
        more: Anything else worth stating, as JSON.

    Returns:
        The file.

    Raises:
        FileNotFoundError: No weight file there.
    """
    folder = Path(folder)
    found = {file.resolve() for file in folder.rglob("*.safetensors")}
    found.update(file for part in shared_parts(folder).values() for file in part.glob("*.safetensors"))
    if not found:
        raise FileNotFoundError(f"{folder} holds no .safetensors file: write the weights before the card.")
    files = {Path(os.path.relpath(file, folder.resolve())).as_posix(): sha256(file) for file in found}
    stated = {"source": source, "licence": licence, "training_data": training_data, **more}
    content = {**stated, "settings": settings or {}, "files": dict(sorted(files.items()))}
    write_json(folder / CARD, content, ensure_ascii=False)
    return folder / CARD


def verify(folder: Path, files: Iterable[Path]) -> None:
    """Compare the weight files that are about to be read with the hashes that the folder's card records.

    Raises:
        ValueError: A file was changed, or is not on the card although the card lists files.
    """
    recorded = stated(folder).get("files") or {}
    if not isinstance(recorded, dict) or not all(isinstance(digest, str) for digest in recorded.values()):
        raise ValueError(f"{folder / CARD} does not list its files with their SHA-256: it is damaged.")
    if not recorded:
        return
    recorded = {(folder / name).resolve(): digest for name, digest in recorded.items()}
    for file in files:
        if (expected := recorded.get(file.resolve())) is None:
            raise ValueError(
                f"{file} is not among the weights that {folder / CARD} lists: remove it, or fetch the "
                "checkpoint again."
            )
        if (found := sha256(file)) != expected:
            raise ValueError(
                f"{file} is not the file that {folder / CARD} describes (SHA-256 {found[:12]}… instead of "
                f"{expected[:12]}…): it was changed or damaged, so fetch the checkpoint again."
            )


def stated(folder: Path) -> dict:
    """Content of ``card.json``; empty where there is none."""
    return read_json(folder / CARD) if (folder / CARD).is_file() else {}


def read_card(layout: Layout, name: str, files: list[Path]) -> tuple[Card, dict]:
    """Card and recommended settings: ``card.json`` in the folder, or what the registry says of a published
    name.

    Args:
        layout: The checkpoint's folder.
        name: What it was asked for by.
        files: Its weight files.
    """
    from rs_course import registry

    from .families import FAMILIES

    content = stated(layout.root)
    settings = content.get("settings", {})
    unknown = f"not stated in {layout.root.name}"
    known = {"source": str(layout.root), "licence": unknown, "training_data": unknown}
    if entry := registry.find(name, "checkpoint"):
        known = {"source": entry.homepage, "licence": entry.licence}
        known["training_data"] = FAMILIES[layout.family].training_data
        if entry.image_size:
            settings = {"size": entry.image_size, **settings}
    known.update({key: value for key, value in content.items() if key in known})
    return Card(**known, files=files), settings
