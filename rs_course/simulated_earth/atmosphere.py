"""What lies between the ground and the sensor: haze, clouds and their shadows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .exact import Dice, mix_key, smoothstep
from .palette import CLEAR, DN, PATH
from .season import Season
from .view import SIZE, View

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


def draw_air(dice: Dice) -> Air:
    """Draw haze, gain, sensor noise and default cloud cover."""
    aerosol = dice.uniform(0, 0.006) + (dice.uniform(0, 0.018) if dice.chance(0.2) else 0.0)
    path = PATH * np.float32(dice.uniform(0.93, 1.07)) + np.float32(aerosol)
    transmit = CLEAR - np.float32(1.5 * aerosol)
    tint = np.array([dice.uniform(0.96, 1.04) for _ in range(3)], np.float32)
    transmit = transmit * tint * np.float32(dice.uniform(0.9, 1.1))
    if dice.chance(0.04):  # thick blue haze, as over a few percent of EuroSAT's tiles
        thick = dice.uniform(0.5, 1.0)
        path = path + np.array([0.020, 0.030, 0.064], np.float32) * np.float32(thick)
        transmit = transmit * np.float32(1 - 0.35 * thick)
    cloud = round(dice.uniform(0.02, 0.25), 3) if dice.chance(0.025) else 0.0
    return Air(path=path, transmit=transmit, noise=dice.uniform(0.6, 1.35), cloud=cloud, key=dice.key())


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
