"""Prompts, metadata and condition pictures as the published models were trained on them, from each data set's
own files.

>>> from rs_course.checkpoints.builders import fmow_caption
>>> fmow_caption("amusement_park", "AUS")
'a fmow satellite image of a amusement park in Australia'
"""

from .captions import (
    FMOW_CATEGORIES,
    append_metadata,
    fmow_caption,
    satlas_caption,
    spacenet_caption,
    texas_caption,
    xbd_caption,
)
from .places import fmow_metadata, satlas_metadata, spacenet_metadata, texas_metadata, xbd_metadata
from .sentinel2 import percentile_stretch, sentinel_condition

__all__ = [
    "FMOW_CATEGORIES",
    "append_metadata",
    "fmow_caption",
    "fmow_metadata",
    "percentile_stretch",
    "satlas_caption",
    "satlas_metadata",
    "sentinel_condition",
    "spacenet_caption",
    "spacenet_metadata",
    "texas_caption",
    "texas_metadata",
    "xbd_caption",
    "xbd_metadata",
]
