"""Pictures made by code, for the tests of this folder."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def picture(seed, size=(16, 16)):
    """A random uint8 RGB picture; equal seeds give equal pictures."""
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def png(pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def deep_png(bands=3) -> bytes:
    """A 16-bit PNG of 4×4 pixels, which Pillow can read and not write: 1 (grey), 2, 3 or 4 bands."""

    def chunk(name, content):
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    kind = {1: 0, 2: 4, 3: 2, 4: 6}[bands]
    rows = zlib.compress((b"\0" + b"\x01\x2c" * 4 * bands) * 4)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def tiff(bands=3, *, bits=16, sample_format=1, big=False, tiled=False) -> bytes:
    """An uncompressed TIFF of 16×16 pixels, its values 44 in every band."""
    size, count = ("Q", 8) if big else ("I", 4)
    pixels = np.full((16, 16, bands), 44, {8: "u1", 16: "<u2", 32: "<f4"}[bits]).tobytes()
    many = {258: [bits] * bands, 339: [sample_format] * bands}
    tags = {256: 16, 257: 16, 259: 1, 262: 2 if bands > 2 else 1, 277: bands, 284: 1}
    tags |= (
        {322: 16, 323: 16, 324: None, 325: len(pixels)} if tiled else {273: None, 278: 16, 279: len(pixels)}
    )
    start = 16 if big else 8
    at = start + (8 if big else 2) + (20 if big else 12) * (len(tags) + 2) + count
    entries, extra = [], b""
    for tag in sorted([*tags, *many]):
        if tag in many:
            values = struct.pack(f"<{bands}H", *many[tag])
            if len(values) > count:
                entries.append((tag, 3, bands, struct.pack(f"<{size}", at + len(extra))))
                extra += values
            else:
                entries.append((tag, 3, bands, values.ljust(count, b"\0")))
        else:
            entries.append((tag, 4, 1, tags[tag]))
    where = at + len(extra)
    directory = b"".join(
        struct.pack(f"<HH{size}", tag, kind, number)
        + (value if isinstance(value, bytes) else struct.pack(f"<{size}", where if value is None else value))
        for tag, kind, number, value in entries
    )
    head = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16) if big else struct.pack("<2sHI", b"II", 42, 8)
    return head + struct.pack("<Q" if big else "<H", len(entries)) + directory + bytes(count) + extra + pixels
