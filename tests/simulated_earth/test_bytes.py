"""The same bytes on every machine, in every process."""

import hashlib
import os
import subprocess
import sys

import numpy as np

from rs_course.simulated_earth import CLASSES, scene

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
        "import numpy as np, test_bytes as t; features = np._core._multiarray_umath.__cpu_features__;"
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
