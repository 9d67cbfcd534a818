"""Pictures made by code, for the tests of this folder."""

import io

import numpy as np
from PIL import Image


def picture(seed, size=(16, 16)):
    """A random uint8 RGB picture; equal seeds give equal pictures."""
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def png(pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()
