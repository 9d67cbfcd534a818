"""The same bytes on every machine, in every process."""

import hashlib
import os
import subprocess
import sys

import numpy as np

from rs_course.simulated_earth import CLASSES, scene

SHA256 = {
    "AnnualCrop 0": "7e0b9d9dee8743fc25e334bc8efa4ef69dc7ebbf24e9410b7aa59b0ce0ae5e57",
    "Forest 1": "93a402133057e4400d95f29cd7b44b4e0b1aba2589f6d443436731b4f652b857",
    "HerbaceousVegetation 2": "872bd633d8df2933c6957dc157528e7bca618072262031124c521c385102317a",
    "Highway 3": "c4f243ec665c65329755a68486d98eda64e8f6d6c55b4c230fdb9c0adffd268c",
    "Industrial 4": "877883b0146c8f56f3a2936a93977f3f85f24da9d41c2f04adab4aa2fc1d540c",
    "Pasture 5": "1e88c98099153ee71738ec55dcda3c7a9560bdaae553763ad28e3a212a54d465",
    "PermanentCrop 6": "3beb132a7d6b27ecba23a880cd0345b29eff7544cbc5c7f308dff040975176aa",
    "Residential 7": "a8d6ef67d050978a959a670a963f5f82871203c6f887eafb0e90a9cab4932f17",
    "River 8": "60ddc8bb60f059362e2cd866450c99efd4282b787b7245c17e2dae77f162bbe4",
    "SeaLake 9": "63a044c0cad9effa7a81035cd18bf3e7400efa0089a216b763bd4cd936222412",
    "winter": "3ad42a1d8013c2034636ee48e1a0d5d1fb080614187075771f1830807cb09ed8",
    "wide": "91164fd4edb63454b67f877050326859e6f85cde583f8750ca0e140916d35dea",
    "near": "6e94482227fbbccfd5eb4d4bebb6781b0a4c795c6bfc916b8a9675c474f86442",
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
