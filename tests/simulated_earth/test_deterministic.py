"""The exact arithmetic equals its mathematical definition."""

import math

import numpy as np
import pytest
from scipy.interpolate import BSpline

from rs_course.simulated_earth import deterministic
from rs_course.simulated_earth.atmosphere import PSF, expose


@pytest.mark.parametrize("x", np.linspace(-20, 20, 41))
def test_trigonometry_equals_the_library(x):
    assert deterministic.sin(x) == pytest.approx(math.sin(x), abs=1e-7)
    assert deterministic.cos(x) == pytest.approx(math.cos(x), abs=1e-7)


def test_lattice_noise_is_a_cubic_spline_of_its_lattice():
    spacing, count = 40.0, 64
    noise = deterministic.lattice_noise(7, spacing, (-100.0, 5.0, count), (90.0, -5.0, count))
    wx, i0, ni = deterministic.spline_weights((-100 + 5 * np.arange(count)) / spacing)
    wy, j0, nj = deterministic.spline_weights((90 - 5 * np.arange(count)) / spacing)
    i, j = np.arange(i0, i0 + ni)[None], np.arange(j0, j0 + nj)[:, None]
    lattice = deterministic.hash2(7, i, j) >> np.uint32(21)
    lattice = lattice.astype(float) - 1023.5

    def basis(first, n, positions):
        columns = [
            BSpline.basis_element(np.arange(k - 2, k + 3), extrapolate=False)(positions)
            for k in first + np.arange(n)
        ]
        return np.nan_to_num(np.stack(columns, 1))

    x, y = (-100 + 5 * np.arange(count)) / spacing, (90 - 5 * np.arange(count)) / spacing
    expected = basis(j0, nj, y) @ lattice @ basis(i0, ni, x).T / (0.277 * 1024)
    np.testing.assert_allclose(noise, expected, atol=5e-3)  # weights are quantised to 1/4096
    assert (wx.sum(1) == 4096).all() and (wy.sum(1) == 4096).all()


def test_noise_does_not_depend_on_the_window():
    whole = deterministic.lattice_noise(3, 50.0, (0.0, 2.5, 64), (0.0, -2.5, 64))
    part = deterministic.lattice_noise(3, 50.0, (2.5 * 20, 2.5, 16), (-2.5 * 30, -2.5, 16))
    np.testing.assert_array_equal(part, whole[30:46, 20:36])


def test_noise_has_unit_spread():
    values = [deterministic.lattice_noise(key, 5.0, (0.0, 2.5, 256), (0.0, -2.5, 256)) for key in range(4)]
    assert np.mean(values) == pytest.approx(0, abs=0.02)
    assert np.std(values) == pytest.approx(1, abs=0.05)


def test_dice_streams_differ_and_repeat():
    def draw(*args):
        dice = deterministic.RandomStream(*args)
        return [dice.uniform() for _ in range(4)]

    assert draw(1, 2, "a") == draw(1, 2, "a")
    assert len({draw(*args)[0] for args in [(1, 2, "a"), (2, 1, "a"), (1, 2, "b"), (1, 3, "a")]}) == 4


def test_sensor_equals_a_direct_convolution():
    hr = np.random.default_rng(0).integers(0, 256, (3, 256, 256), dtype=np.uint8)
    image = expose(hr, 0.0, deterministic.RandomStream(0, 0, "sensor"))
    padded = np.pad(hr.astype(float), ((0, 0), (4, 4), (4, 4)), mode="edge")
    kernel = np.outer(PSF, PSF) / 65536
    for row, col in [(0, 0), (5, 63), (31, 17), (63, 63)]:
        window = padded[:, 4 * row : 4 * row + 12, 4 * col : 4 * col + 12]
        np.testing.assert_array_equal(image[row, col], np.floor((window * kernel).sum((1, 2)) + 0.5))


def test_modulation_transfer_lies_in_the_sensors_range():
    offsets = (np.arange(12) - 5.5) / 4
    nyquist = abs((PSF * np.exp(-1j * np.pi * offsets)).sum()) / PSF.sum()
    assert PSF.sum() == 256
    assert 0.15 <= nyquist <= 0.30


def test_sensor_noise_has_the_stated_spread():
    flat = np.full((3, 256, 256), 100, np.uint8)
    image = expose(flat, 4.0, deterministic.RandomStream(0, 0, "sensor")).astype(float)
    assert image.mean() == pytest.approx(100, abs=0.2)
    assert image.std() == pytest.approx(4.0, abs=0.15)
