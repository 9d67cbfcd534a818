"""Embeddings kept on disk under the hash of what they were made from.

The key is the content: the image's bytes or the caption's text, and a fingerprint of the scorer's weights
and settings. Never the name of a data set, under which a second set would silently receive the first one's
features.
"""

from __future__ import annotations

import hashlib
import sqlite3
import warnings
from contextlib import closing
from pathlib import Path

import numpy as np
import torch

# Raised when preparation or tokenization changes, so that older embeddings are not found any more.
_VERSION = 1


def digest(*parts: bytes) -> bytes:
    """Hash of a sequence of byte strings, in which their boundaries count."""
    state = hashlib.blake2b(digest_size=20)
    for part in parts:
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    return state.digest()


def fingerprint(model: torch.nn.Module, *settings: str) -> bytes:
    """Hash of a model's weights (names, shapes, values) and of the settings that shape its inputs."""
    state = hashlib.blake2b(digest_size=20)
    for name, tensor in sorted(model.state_dict().items()):
        state.update(f"{name} {list(tensor.shape)} {tensor.dtype}".encode())
        state.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest(str(_VERSION).encode(), state.digest(), *(s.encode() for s in settings))


class EmbeddingCache:
    """A file of embeddings; several processes may read and write it at once, and it may be deleted any time.

    Args:
        file: SQLite file, made on first use.
    """

    def __init__(self, file: str | Path):
        self.file = Path(file)
        self._usable = True

    def get(self, keys: list[bytes]) -> dict[bytes, np.ndarray]:
        """Those of the embeddings (float32 ``[D]``) that are there."""

        def read(connection):
            found = {}
            for start in range(0, len(keys), 500):  # SQLite limits the variables of one statement
                some = keys[start : start + 500]
                query = f"SELECT key, value FROM embeddings WHERE key IN ({','.join('?' * len(some))})"
                found |= {
                    key: np.frombuffer(value, np.float32) for key, value in connection.execute(query, some)
                }
            return found

        return (self.file.exists() and self._use(read)) or {}

    def put(self, keys: list[bytes], embeddings: np.ndarray) -> None:
        """Store embeddings, float32 ``[N, D]``."""
        rows = [(key, row.tobytes()) for key, row in zip(keys, embeddings, strict=True)]
        self._use(
            lambda connection: connection.executemany("INSERT OR IGNORE INTO embeddings VALUES (?, ?)", rows)
        )

    def _use(self, work):
        """Result of ``work(connection)``; a disk that cannot be used is said once and then left alone."""
        if not self._usable:
            return None
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.file, timeout=60)) as connection, connection:
                connection.execute("CREATE TABLE IF NOT EXISTS embeddings (key BLOB PRIMARY KEY, value BLOB)")
                return work(connection)
        except (OSError, sqlite3.Error) as error:
            self._usable = False
            warnings.warn(
                f"Embeddings are not kept on disk: {self.file} cannot be used ({error}).", stacklevel=2
            )
            return None
