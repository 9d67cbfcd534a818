"""What a date and a latitude do: sun, vegetation, snow, crop calendars."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from math import pi, sqrt

from .deterministic import cos, sin

_OVERPASS = -22.5 * pi / 180  # hour angle of Sentinel-2's 10:30 descending node


@dataclass(frozen=True)
class Season:
    """The state of a place on one date.

    Attributes:
        date: Calendar date.
        phase: Day of the year shifted by half a year south of the equator, 0 to 365.
        sun: Unit vector towards the sun (east, north, up).
        green: Vigour of grass and shrubs, 0 (dormant or parched) to 1 (lush).
        leaf: Fraction of deciduous leaf, 0 to 1.
        snow: Likelihood of lying snow, 0 to 1 (0 means none).
    """

    date: datetime.date
    phase: float
    sun: tuple[float, float, float]
    green: float
    leaf: float
    snow: float

    @property
    def name(self) -> str:
        """Astronomical hemisphere-aware season by month."""
        return ("winter", "spring", "summer", "autumn")[int((self.phase + 31) % 365 / 91.25)]


def season(date: datetime.date, lat: float, dryness: float, chill: float) -> Season:
    """Sun, vegetation and snow for a date.

    Args:
        date: Calendar date.
        lat: Latitude in degrees; south is negative and turns the seasons around.
        dryness: 0 for an oceanic to 1 for a mediterranean climate: summers parch the grass.
        chill: How harsh this place's winter is, 0 to 1.
    """
    day = date.timetuple().tm_yday
    phase = float((day + (183 if lat < 0 else 0)) % 365)
    declination = 23.44 * pi / 180 * sin(2 * pi * (day - 80) / 365.25)
    phi = lat * pi / 180
    up = sin(phi) * sin(declination) + cos(phi) * cos(declination) * cos(_OVERPASS)
    up = max(up, 0.12)  # polar night: the tile is lit as at a sun 7 degrees high
    east = -cos(declination) * sin(_OVERPASS)
    north = cos(phi) * sin(declination) - sin(phi) * cos(declination) * cos(_OVERPASS)
    scale = sqrt((1 - up * up) / (east * east + north * north))
    cold = max(0.0, min(1.0, (abs(lat) - 30) / 30))
    summer = 0.5 - 0.5 * cos(2 * pi * (phase - 15) / 365)  # 0 in mid January, 1 in mid July
    moist = 0.5 - 0.5 * cos(2 * pi * (phase + 80) / 365)  # 1 in late winter and spring, 0 in late summer
    green = (1 - dryness) * min(1.0, 0.35 + 0.9 * summer - 0.25 * cold * (1 - summer)) + dryness * (
        0.1 + 0.75 * moist
    )
    leaf = max(0.0, min(1.0, (summer - 0.18 - 0.15 * cold) * 4))
    snow = max(0.0, min(1.0, (cold * 0.95 + 0.35 * chill - 0.55 - 1.35 * summer) * 2.5))
    return Season(date, phase, (east * scale, north * scale, up), max(0.0, min(1.0, green)), leaf, snow)
