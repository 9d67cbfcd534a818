"""The deterministic arithmetic equals its mathematical definition, and gives the same bytes everywhere."""

import hashlib
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from scipy.interpolate import BSpline

from rs_course.simulated_earth import CLASSES, deterministic, scene
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


SHA256 = {
    "AnnualCrop 0": "7e0b9d9dee8743fc25e334bc8efa4ef69dc7ebbf24e9410b7aa59b0ce0ae5e57",
    "Forest 1": "db5cbcc9401562957f252907fac3c1d719901ecfa4e375738ecdd359fa411436",
    "HerbaceousVegetation 2": "872bd633d8df2933c6957dc157528e7bca618072262031124c521c385102317a",
    "Highway 3": "eb109469e4fc1a01a30b725c4133469f77436c2d792a196bc4d488beb9d64673",
    "Industrial 4": "b737b61974802f79387f48fb536608507144c762609b4a87b0e99f7145ab089b",
    "Pasture 5": "51f0306ec7b32e806d9d20111bbb220606f31ce1ac193f4900fec16c26e55af2",
    "PermanentCrop 6": "d14ab3a393a8af3c77adf5cbf2dcecd7512c2b8026d7f4dbd6bae3400076d6a5",
    "Residential 7": "53b47f6268fe32480b02cb008725f51a1cbaf1779998674f1dcc37721abed08a",
    "River 8": "8d48e134181f6b684a3affce1b5c8eaafb1ecf741e830bb533fedc371e3fa54d",
    "SeaLake 9": "515dd29571034ebb5e997b0e90e395cfa40c300dbb482537b10a510888b0786d",
    "winter": "6ee6cadac5dc14d8df238c365417291e00e82c679ea765deae211bb3d69b522e",
    "wide": "95175043a235287ea18d1bc05f959a733dd7db12d39ae9bbfcbc28bddd138a98",
    "near": "a96777d2647727b425ce55862308768d06e5bc3491840d453a2d77c0eb5d8dcc",
}


def digest(label: str, seed: int, **options) -> str:
    s = scene(label, seed, **options)
    sha = hashlib.sha256()
    for array in (s.image, s.image_hr, s.landcover, s.roads, s.elevation.astype("<f4"), s.clouds):
        sha.update(array.tobytes())
    sha.update("\n".join(s.captions).encode())
    return sha.hexdigest()


CASES = {f"{label} {seed}": (label, seed, {}) for seed, label in enumerate(CLASSES)}
CASES["winter"] = ("River", 21, {"date": "2021-01-15", "cloud_cover": 0.3, "lat": 58.0})
CASES["wide"] = ("Highway", 22, {"gsd": 30.0, "cloud_cover": 0.1})
CASES["near"] = ("Residential", 23, {"gsd": 3.3})


def all_digests() -> dict:
    return {name: digest(label, seed, **options) for name, (label, seed, options) in CASES.items()}


def test_pixels_are_the_committed_ones():
    """If this fails on purpose, change VERSION and the table below with it."""
    assert all_digests() == SHA256


def test_bytes_do_not_depend_on_processor_features_or_threads():
    dispatch = np._core._multiarray_umath.__cpu_dispatch__
    code = (
        "import numpy as np, test_deterministic as t; features = np._core._multiarray_umath.__cpu_features__;"
        f"print(any(features.get(name) for name in {dispatch!r}), t.all_digests() == t.SHA256)"
    )
    environment = {
        **os.environ,
        "NPY_DISABLE_CPU_FEATURES": " ".join(dispatch),
        "OPENBLAS_CORETYPE": "Nehalem",
        "OPENBLAS_NUM_THREADS": "3",
        "OMP_NUM_THREADS": "3",
    }
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=os.path.dirname(__file__),
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.stdout.strip() == "False True", run.stderr
