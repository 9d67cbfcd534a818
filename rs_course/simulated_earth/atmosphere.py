"""What a date and a latitude do (sun, vegetation, snow, crop calendars), and what lies between the ground and
the picture: haze, clouds and their shadows, and the sensor.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from math import pi, sqrt

import numpy as np

from .deterministic import RandomStream, cos, mix_key, sin, smoothstep
from .view import CLEAR, DN, PATH, SIZE, View

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


_CLOUD = (238, 240, 246)  # digital numbers of thick cloud


@dataclass(frozen=True)
class Air:
    """Haze and calibration of one acquisition.

    Attributes:
        path: Reflectance of the air itself in red, green and blue, float32 ``[3]``.
        transmit: Two-way transmittance times the calibration gain, float32 ``[3]``.
        noise: Standard deviation of the sensor's noise in digital numbers.
        cloud: Default cloud cover, a fraction.
        key: 32-bit key of the cloud field.
    """

    path: np.ndarray
    transmit: np.ndarray
    noise: float
    cloud: float
    key: int


def draw_air(rng: RandomStream) -> Air:
    """Draw haze, gain, sensor noise and default cloud cover."""
    aerosol = rng.uniform(0, 0.006) + (rng.uniform(0, 0.018) if rng.chance(0.2) else 0.0)
    path = PATH * np.float32(rng.uniform(0.93, 1.07)) + np.float32(aerosol)
    transmit = CLEAR - np.float32(1.5 * aerosol)
    tint = np.array([rng.uniform(0.96, 1.04) for _ in range(3)], np.float32)
    transmit = transmit * tint * np.float32(rng.uniform(0.9, 1.1))
    if rng.chance(0.04):  # thick blue haze, as over a few percent of EuroSAT's tiles
        thick = rng.uniform(0.5, 1.0)
        path = path + np.array([0.020, 0.030, 0.064], np.float32) * np.float32(thick)
        transmit = transmit * np.float32(1 - 0.35 * thick)
    cloud = round(rng.uniform(0.02, 0.25), 3) if rng.chance(0.025) else 0.0
    return Air(path=path, transmit=transmit, noise=rng.uniform(0.6, 1.35), cloud=cloud, key=rng.key())


@dataclass(frozen=True)
class Clouds:
    """Clouds over a view: where they are (bool), how opaque, the light they leave (float32 ``[h, w]``)."""

    mask: np.ndarray
    opacity: np.ndarray
    light: np.ndarray


def clouds_over(air: Air, view: View, when: Season, cover: float) -> Clouds | None:
    """Clouds over exactly the fraction ``cover`` of the view's pixels, ``None`` for a clear sky."""
    count = int(cover * SIZE * SIZE + 0.5)
    if count == 0:
        return None
    field = _field(air, view)
    threshold = np.partition(field.ravel(), SIZE * SIZE - count)[SIZE * SIZE - count]
    mask = field >= threshold
    east, north, up = when.sun
    far = 104 * view.step / up  # a cloud base low enough that the shadow falls near, whatever the scale
    shade = _thickness(_field(air, View(view.step, offset=(east * far, north * far))) - threshold)
    return Clouds(
        mask=mask,
        opacity=_thickness(field - threshold) * np.float32(0.96) * mask,
        light=np.float32(1) - np.float32(0.62) * shade,
    )


def _field(air: Air, view: View) -> np.ndarray:
    field = view.noise(mix_key(air.key, 1), 520.0) + view.noise(mix_key(air.key, 2), 190.0) * np.float32(0.45)
    return field + view.noise(mix_key(air.key, 3), 60.0) * np.float32(0.16)


def _thickness(excess: np.ndarray) -> np.ndarray:
    """Opacity from the excess over the threshold: thin at the edge, soft beyond it."""
    return smoothstep(excess * np.float32(1.1) + np.float32(0.28))


def through(air: Air, rgb: np.ndarray, light: np.ndarray, clouds: Clouds | None) -> np.ndarray:
    """Digital numbers uint8 ``[3, h, w]`` of reflectances under a given illumination, air and clouds."""
    numbers = np.empty(rgb.shape, np.uint8)
    for k, surface in enumerate(rgb):
        plane = surface * light
        plane *= np.float32(air.transmit[k] * DN)
        plane += np.float32(air.path[k] * DN)
        if clouds is not None:
            plane += (np.float32(_CLOUD[k]) - plane) * clouds.opacity
        plane += np.float32(0.5)
        numbers[k] = np.clip(plane, 0, 255).astype(np.uint8)
    return numbers


# Gaussian optics of 0.40 pixel (standard deviation) convolved with the square detector of one pixel, in units
# of 1/256, sampled every quarter pixel. The modulation transfer at the Nyquist frequency is 0.29; the
# specification of Sentinel-2's 10 m bands asks for 0.15 to 0.30.
PSF = np.array([1, 4, 11, 24, 39, 49, 49, 39, 24, 11, 4, 1])


def expose(image_hr: np.ndarray, noise: float, rng: RandomStream) -> np.ndarray:
    """See a scene through the sensor: every fourth pixel of the blurred scene, with additive noise.

    Sums are integers, hence exact; the border repeats its outermost pixels.

    Args:
        image_hr: uint8 ``[3, 256, 256]``.
        noise: Standard deviation of the noise in digital numbers.
        rng: Stream of the noise.

    Returns:
        uint8 ``[64, 64, 3]``.
    """
    turned = np.ascontiguousarray(_sample(image_hr.astype(np.int32)).swapaxes(1, 2))
    blurred = _sample(turned).swapaxes(1, 2)
    # The sum of four bytes is nearly normal, with mean 510 and standard deviation 147.8.
    bell = rng.bytes(blurred.size * 4).reshape(4, *blurred.shape).sum(0, dtype=np.int32) - 510
    value = blurred.astype(np.float64) / 65536 + bell * (noise / 147.8) + 0.5
    return np.ascontiguousarray(np.clip(np.floor(value), 0, 255).astype(np.uint8).transpose(1, 2, 0))


def _sample(planes: np.ndarray) -> np.ndarray:
    """Point spread and sampling along the rows' direction: int32 ``[3, n, m]`` to ``[3, n / 4, m]``."""
    padded = np.concatenate([planes[:, :1]] * 4 + [planes] + [planes[:, -1:]] * 4, 1)
    rows = planes.shape[1]
    return sum(padded[:, tap : tap + rows : 4] * weight for tap, weight in enumerate(PSF.tolist()))
