"""One real Sentinel-2 scene that needs no network: the sample image of the package ``spyndex``.

Its authors (Montero et al., github.com/awesome-spectral-indices/spyndex, MIT licence) give the four bands of
10 m and say neither where nor when the image was taken, so neither is guessed here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

WHITE = 2_500  # reflectance × 10,000 that is shown as 255; 8 of 100,000 values of this scene are brighter


@dataclass(frozen=True)
class Scene:
    """A scene with its spectral bands.

    Attributes:
        image: True colour, uint8 ``[H, W, 3]``: red, green and blue, linear from 0 to :data:`WHITE`.
        bands: B02, B03, B04 and B08 (blue, green, red, near infrared), reflectance × 10,000, uint16
            ``[4, H, W]``.
        metadata: Names of the bands, metres per pixel, source; ``"unknown"`` where nobody says.
        licence: The licence under which its authors give it.
    """

    image: np.ndarray
    bands: np.ndarray
    metadata: dict[str, object]
    licence: str

    @property
    def provenance(self) -> str:
        """For badges: real, the satellite, the source."""
        return f"real · {self.metadata['satellite']} · {self.metadata['source']}"

    def cutouts(self, step: int = 64, size: int = 64) -> np.ndarray:
        """Square parts of the image, uint8 ``[rows, columns, size, size, 3]``; a smaller step overlaps them.

        Args:
            step: Pixels from one part to the next, down and across.
            size: Pixels of a side.
        """
        parts = np.lib.stride_tricks.sliding_window_view(self.image, (size, size), (0, 1))[::step, ::step]
        return np.ascontiguousarray(np.moveaxis(parts, 2, -1))


def real_scene() -> Scene:
    """The real scene of 300×300 pixels at 10 m: forest, bare and ripe fields, dirt roads, a village.

    Raises:
        ModuleNotFoundError: The package ``spyndex`` is not installed.
    """
    package = find_spec("spyndex")
    if package is None or package.origin is None:
        raise ModuleNotFoundError(
            "The real scene comes with the package spyndex, which is not here: `pip install spyndex`.",
            name="spyndex",
        )
    # The file is read without importing the package, whose own reader wants xarray and pandas.
    file = Path(package.origin).parent / "data" / "S2_10m.json"
    bands = np.asarray(json.loads(file.read_text(encoding="utf-8")), dtype=np.uint16)
    shown = np.clip(bands[[2, 1, 0]] * (255 / WHITE), 0, 255).round().astype(np.uint8)
    return Scene(
        np.ascontiguousarray(shown.transpose(1, 2, 0)),
        bands,
        {
            "bands": ("B02", "B03", "B04", "B08"),
            "gsd": 10.0,
            "satellite": "Sentinel-2",
            "date": "unknown",
            "place": "unknown",
            "source": f"spyndex {version('spyndex')}",
        },
        "MIT",
    )
