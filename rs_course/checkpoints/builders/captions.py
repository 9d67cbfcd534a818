"""Captions of DiffusionSat's training sets, word for word.

A piece of a sentence is left out with probability ``drop`` in training; the default keeps all, as one prompts
the model. Articles and spaces are reproduced as they are ("a airport", two spaces after "houses"): the model
knows no others.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

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
    """ISO 3166 codes, of three and of two letters, to names; Namibia's "NA" is missing, as in the training
    table.
    """
    with (Path(__file__).parent / "countries.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    short = {row["alpha2"]: row["name"] for row in rows if row["alpha2"] != "NA"}
    return short | {row["alpha3"]: row["name"] for row in rows}


def _kept(piece: str, drop: float, rng) -> str:
    return piece if not drop or rng.random() > drop else ""


def fmow_caption(category, country_code: str, *, drop: float = 0.0, rng=None) -> str:
    """Functional Map of the World.

    Args:
        category: One of :data:`FMOW_CATEGORIES`, or its number.
        country_code: ISO 3166 code; an unknown one is written as it is.
        drop: Probability of leaving a piece out (0.1 in training).
        rng: What ``drop`` draws from, with a method ``random()``.
    """
    name = FMOW_CATEGORIES[category] if isinstance(category, int) else category
    country = countries().get(country_code, country_code)
    dataset = _kept(" fmow", drop, rng)
    what = _kept(f" of a {name.replace('_', ' ')}", drop, rng)
    return f"a{dataset} satellite image{what}{_kept(f' in {country}', drop, rng)}"


def texas_caption(year_built: float, acres: float, *, drop: float = 0.0, rng=None) -> str:
    """Texas housing: the year in which a house was built and the size of its parcel."""
    dataset = _kept(" satlas", drop, rng)
    pieces = (" of houses ", f" built in {int(year_built)}", f" covering {acres} acres")
    return f"a{dataset} satellite image" + "".join([_kept(piece, drop, rng) for piece in pieces])


def xbd_caption(disaster_type: str, *, after: bool, drop: float = 0.0, rng=None) -> str:
    """xBD: a place before or after a disaster (``"fire"``, ``"flooding"``, ...)."""
    dataset = _kept(" fmow", drop, rng)
    when = f" {'after' if after else 'before'} being affected by a {disaster_type} natural disaster"
    return f"a{dataset} satellite image{_kept(when, drop, rng)}"


def spacenet_caption(
    city: str, *, buildings: int | None = None, area: float | None = None, roads: float | None = None
) -> str:
    """SpaceNet: ``buildings`` with their ``area`` in m², or the length of the ``roads`` in metres."""
    if buildings is not None:
        what = f"{buildings} buildings covering an area of {round(area, 3)} squared meters"
    else:
        what = f"roads of length {roads} meters" if roads else "no roads"
    return f"a spacenet satellite image of {what} in {city}"


def satlas_caption(items: str, *, drop: float = 0.0, rng=None) -> str:
    """Satlas: what can be seen, as counts, positions or percentages."""
    return f"a{_kept(' satlas', drop, rng)} satellite image of {items}"


def append_metadata(caption: str, offset_metadata) -> str:
    """The baseline without numbers for the model: the metadata behind the caption, in words.

    Args:
        caption: Any caption.
        offset_metadata: longitude + 180, latitude + 90, gsd, cloud cover, year - 1980, month, day; no date is
            written where all three of its numbers are 0.
    """
    lon, lat, gsd, _, year, month, day = (float(value) for value in offset_metadata)
    date = f"The date is {year}, {month}, {day}" if any((year, month, day)) else ""
    return f"{caption} at a resolution of {round(gsd, 5)}. The longitude, latitude is {lon}, {lat}. {date}"
