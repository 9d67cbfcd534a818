"""What DiffusionSat was trained with, from the data sets' files: captions of fMoW, and Sentinel-2 conditions.

>>> fmow_caption("amusement_park", "AUS")
'a fmow satellite image of a amusement park in Australia'
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

FMOW_CATEGORIES = (
    "airport", "airport_hangar", "airport_terminal", "amusement_park", "aquaculture",
    "archaeological_site", "barn", "border_checkpoint", "burial_site", "car_dealership",
    "construction_site", "crop_field", "dam", "debris_or_rubble", "educational_institution",
    "electric_substation", "factory_or_powerplant", "fire_station", "flooded_road", "fountain",
    "gas_station", "golf_course", "ground_transportation_station", "helipad", "hospital",
    "impoverished_settlement", "interchange", "lake_or_pond", "lighthouse", "military_facility",
    "multi-unit_residential", "nuclear_powerplant", "office_building", "oil_or_gas_facility", "park",
    "parking_lot_or_garage", "place_of_worship", "police_station", "port", "prison", "race_track",
    "railway_bridge", "recreational_facility", "road_bridge", "runway", "shipyard", "shopping_mall",
    "single-unit_residential", "smokestack", "solar_farm", "space_facility", "stadium", "storage_tank",
    "surface_mine", "swimming_pool", "toll_booth", "tower", "tunnel_opening", "waste_disposal",
    "water_treatment_facility", "wind_farm", "zoo",
)  # fmt: skip


@cache
def countries() -> dict[str, str]:
    """ISO 3166 codes, of three and two letters, to names; "NA" is missing, as in the training table."""
    with (Path(__file__).parent / "countries.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    short = {row["alpha2"]: row["name"] for row in rows if row["alpha2"] != "NA"}
    return short | {row["alpha3"]: row["name"] for row in rows}


def fmow_caption(category: str | int, country_code: str | None = None) -> str:
    """What DiffusionSat was told of an image of Functional Map of the World.

    Word for word: articles are reproduced as they are, because the model knows no others. Training left out
    each piece of a sentence now and then, so that a sentence without its country is known too.

    Args:
        category: One of :data:`FMOW_CATEGORIES`, or its number.
        country_code: ISO 3166 code; an unknown one is written as it is.
    """
    name = FMOW_CATEGORIES[category] if isinstance(category, int) else category
    where = f" in {countries().get(country_code, country_code)}" if country_code else ""
    return f"a fmow satellite image of a {name.replace('_', ' ')}{where}"


# fMoW-Sentinel's bands and their statistics over the training set (Cong et al. 2022, SatMAE, arXiv
# 2207.08051).
BANDS = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12")
MEAN = (
    1370.19151926, 1184.3824625, 1120.77120066, 1136.26026392, 1263.73947144, 1645.40315151, 1846.87040806,
    1762.59530783, 1972.62420416, 582.72633433, 14.77112979, 1732.16362238, 1247.91870117,
)  # fmt: skip
STD = (
    633.15169573, 650.2842772, 712.12507725, 965.23119807, 948.9819932, 1108.06650639, 1258.36394548,
    1233.1492281, 1364.38688993, 472.37967789, 14.3114637, 1310.36996126, 1087.6020813,
)  # fmt: skip
# RGB first; the three atmospheric bands (B1, B9, B10) are dropped.
CONDITION = tuple(
    BANDS.index(band) for band in ("B4", "B3", "B2", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
)


def stretch(values: np.ndarray) -> np.ndarray:
    """Digital numbers ``[..., 13]`` to uint8: each band's mean ± two standard deviations become 0..255."""
    mean, std = np.array(MEAN), np.array(STD)
    return np.clip((values - (mean - 2 * std)) / (4 * std) * 255, 0, 255).astype(np.uint8)


def sentinel_condition(values: np.ndarray, resolution: int | None = 256) -> torch.Tensor:
    """A condition picture from a Sentinel-2 tile.

    Args:
        values: Digital numbers ``[H, W, 13]`` in the order of :data:`BANDS`.
        resolution: Side of the result (half the generated image's); ``None`` keeps the size.

    Returns:
        Float tensor ``[1, 10, resolution, resolution]`` in [0, 1]: B4 B3 B2 B5 B6 B7 B8 B8A B11 B12.

    Raises:
        ValueError: Not thirteen bands.
    """
    import torch
    import torch.nn.functional as F

    values = np.asarray(values)
    if values.ndim != 3 or values.shape[2] != len(BANDS):
        raise ValueError(f"A Sentinel-2 tile is [H, W, 13] ({', '.join(BANDS)}), not {list(values.shape)}.")
    bands = torch.from_numpy(stretch(values)[..., list(CONDITION)]).float().movedim(-1, 0)[None] / 255
    if resolution is None:
        return bands
    height, width = bands.shape[-2:]
    scale = resolution / min(height, width)
    size = (max(resolution, round(height * scale)), max(resolution, round(width * scale)))
    bands = F.interpolate(bands, size=size, mode="bilinear", antialias=True, align_corners=False)
    top, left = ((side - resolution) // 2 for side in bands.shape[-2:])
    return bands[..., top : top + resolution, left : left + resolution]
