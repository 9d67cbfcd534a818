"""SHA-256 of files: what the registry and the caches know a file by."""

import hashlib


def sha256(path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
