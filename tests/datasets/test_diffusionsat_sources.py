"""Captions, metadata and Sentinel-2 pictures equal those of the official data code."""

import hashlib
import json
import math
import random

import numpy as np
import pytest
import torch
from checkpoints.golden import golden
from scipy.integrate import quad

from rs_course.checkpoints import normalize_metadata
from rs_course.datasets import diffusionsat
from rs_course.datasets.diffusionsat import centroid, countries, fmow_location, from_utm, stretch


@pytest.fixture(scope="module")
def fixture():
    return golden("diffusionsat")


@pytest.fixture(scope="module")
def data(fixture):
    return fixture.info["data"]


def offset(fields: dict) -> list[float]:
    """The official data code's numbers: counted from -180°, -90° and 1980; 0 where a field is unknown."""
    origin = {"lon": 180, "lat": 90, "gsd": 0, "cloud_cover": 0, "year": -1980, "month": 0, "day": 0}
    return [fields[name] + start if name in fields else 0 for name, start in origin.items()]


def test_captions(data):
    for case in data["captions_nothing_dropped"]:
        if case["kind"] == "fmow":
            got = diffusionsat.fmow_caption(case.get("cls", case["category"]), case["country_code"])
        elif case["kind"] == "texas":
            got = diffusionsat.texas_caption(case["year_built"], case["acres"])
        else:
            got = diffusionsat.xbd_caption(case["disaster_type"], after=case["md_key"].startswith("post"))
        assert got == case["caption"]
    assert list(diffusionsat.FMOW_CATEGORIES) == data["categories_62"]


def test_pieces_are_dropped_in_the_official_order(data):
    case = data["captions_random_seeded"]
    rng = random.Random(case["seed"])
    got = [diffusionsat.fmow_caption(0, "ITA", drop=case["drop_pct"], rng=rng) for _ in case["captions"]]
    assert got == case["captions"]
    everything = {"drop": 1.0, "rng": rng}
    assert diffusionsat.fmow_caption(0, "ITA", **everything) == data["captions_all_dropped"]["fmow"]
    assert diffusionsat.xbd_caption("fire", after=True, **everything) == data["captions_all_dropped"]["xbd"]
    assert diffusionsat.texas_caption(1987, 1, **everything) == data["captions_all_dropped"]["texas"]


def test_country_names():
    """The table's fingerprint, and pycountry's names but for the twelve that differ."""
    import pycountry

    names = {code: name for code, name in countries().items() if len(code) == 3}
    text = json.dumps(names, sort_keys=True, ensure_ascii=False)
    fingerprint = "5a16384edba8a31fe595258bf719e4f6a3fd3b55eb3d46fc87bef238cb63b19a"
    assert hashlib.sha256(text.encode()).hexdigest() == fingerprint
    different = {c.alpha_3 for c in pycountry.countries if names[c.alpha_3] != c.name}
    assert different == {"BOL", "COD", "VAT", "IRN", "PRK", "FSM", "TUR", "GBR", "USA", "VEN", "VGB", "VIR"}
    assert diffusionsat.fmow_caption("port", "NA").endswith(
        " in NA"
    )  # Namibia's code is missing in the training table


def test_metadata_in_words(fixture, data):
    rows = fixture["md.raw_offset"].float()
    got = [diffusionsat.append_metadata("a satellite image", rows[i]) for i in range(4)]
    assert got == data["combine_text_and_metadata"]


def test_spacenet_captions():
    assert diffusionsat.spacenet_caption("Paris", roads=1523.25) == (
        "a spacenet satellite image of roads of length 1523.25 meters in Paris"
    )
    assert diffusionsat.spacenet_caption("Vegas", buildings=3, area=120.12345) == (
        "a spacenet satellite image of 3 buildings covering an area of 120.123 squared meters in Vegas"
    )
    assert diffusionsat.spacenet_caption("Rio", roads=0).endswith("no roads in Rio")
    assert diffusionsat.satlas_caption("two wind turbines") == "a satlas satellite image of two wind turbines"


def close(fixture, case, rows, key):
    fixture.close(
        case, "metadata", torch.tensor([offset(row) for row in rows], dtype=torch.float32), key, 1e-6
    )


def test_fmow(fixture, data):
    rows = []
    for case in data["fmow_numeric_inputs"]:
        category = diffusionsat.FMOW_CATEGORIES[case["cls"]]
        table = [
            {
                "category": category,
                "location_id": case["location_id"],
                "image_id": case["image_id"],
                "polygon": wkt,
            }
            for wkt in [case["polygon_wkt"]]
        ]
        place = fmow_location(table, case["metadata_json"]["img_filename"], category)
        rows.append(
            diffusionsat.fmow_metadata(
                case["metadata_json"], place, case["image_hw"], case["target_resolution"]
            )
        )
    close(fixture, "fmow", rows, "data.fmow_numeric")
    normal = torch.stack([normalize_metadata(**row) for row in rows])
    fixture.close("fmow", "normalised", normal, "data.fmow_numeric_norm", 1e-6)
    with pytest.raises(ValueError, match="0 rows describe image 1 of airport 204"):
        fmow_location(table, "airport_204_1_rgb.jpg", "airport")


def test_texas(fixture, data):
    rows = [
        diffusionsat.texas_metadata(case["key"], case, case["hw"], case["target_resolution"])
        for case in data["texas_numeric_inputs"]
    ]
    close(fixture, "texas", rows, "data.texas_numeric")


def test_xbd(fixture, data):
    rows = [
        diffusionsat.xbd_metadata(case["post"], case["pre"], case["hw"], case["target_resolution"])
        for case in data["xbd_numeric_inputs"]
    ]
    close(fixture, "xbd", rows, "data.xbd_numeric")


def test_spacenet(fixture, data):
    rows = [
        diffusionsat.spacenet_metadata(case["key"].split("_")[3], None, case["hw"], case["target_resolution"])
        for case in data["spacenet_numeric_inputs"]
    ]
    close(fixture, "spacenet", rows, "data.spacenet_numeric")
    with pytest.raises(ValueError, match="SpaceNet has no city 'atlanta'"):
        diffusionsat.spacenet_metadata("Atlanta", None, (650, 650), 512)


def test_spacenet_place_is_the_middle_of_its_labels():
    label = {"features": [{"geometry": {"type": "Polygon", "coordinates": [[[2, 48], [3, 48], [3, 49]]]}}]}
    found = diffusionsat.spacenet_metadata("paris", label, (650, 650), 512)
    assert (found["lon"], found["lat"]) == (2.5, 48.5)


def test_satlas(fixture, data):
    rows = []
    for case in data["satlas_numeric_inputs"]:
        tile = tuple(int(part) for part in case["key"].split("_")[1:3])
        arguments = (case["image_name"], case["hw"], case["target_resolution"], case["scale_factor"])
        rows.append(diffusionsat.satlas_metadata(tile, *arguments))
    close(fixture, "satlas", rows, "data.satlas_numeric")
    true = diffusionsat.satlas_metadata((2**16, 2**16), "naip_2020-11-30", (512, 512), 512, as_trained=False)
    assert (true["lon"], true["lat"]) == pytest.approx((0, 0), abs=1e-9)


def test_centroid_of_known_shapes():
    assert centroid("POLYGON ((0 0, 4 0, 4 2, 0 2, 0 0))") == pytest.approx((2, 1))
    assert centroid("POLYGON ((100 50, 103 50, 100 53))") == pytest.approx((101, 51))  # not closed
    with pytest.raises(ValueError, match="is not a POLYGON"):
        centroid("POINT (1 2)")


def test_utm_on_and_off_the_central_meridian():
    """The meridian's arc is an elliptic integral; off it, the inverse undoes Redfearn's forward series."""
    a, e2 = 6378137.0, 0.00669437999014

    def arc(lat):
        curvature = lambda t: a * (1 - e2) / (1 - e2 * math.sin(t) ** 2) ** 1.5  # noqa: E731
        return quad(curvature, 0, math.radians(lat))[0]

    for lat in (10.0, 51.92, 75.0):
        assert from_utm(500_000, 0.9996 * arc(lat), 31) == pytest.approx((3.0, lat), abs=1e-8)
    lat, lon = math.radians(51.926517), math.radians(4.462456 - 3)
    nu = a / math.sqrt(1 - e2 * math.sin(lat) ** 2)
    t2, eta2, c = math.tan(lat) ** 2, e2 / (1 - e2) * math.cos(lat) ** 2, lon * math.cos(lat)
    east = nu * (
        c + c**3 / 6 * (1 - t2 + eta2) + c**5 / 120 * (5 - 18 * t2 + t2**2 + 14 * eta2 - 58 * t2 * eta2)
    )
    rise = (
        nu
        * math.tan(lat)
        * (c**2 / 2 + c**4 / 24 * (5 - t2 + 9 * eta2 + 4 * eta2**2) + c**6 / 720 * (61 - 58 * t2 + t2**2))
    )
    found = from_utm(500_000 + 0.9996 * east, 0.9996 * (arc(51.926517) + rise), 31)
    assert found == pytest.approx((4.462456, 51.926517), abs=1e-8)


def test_sentinel_condition(fixture):
    values = fixture["data.sentinel_in"].numpy()
    assert np.array_equal(stretch(values), fixture["data.sentinel_norm_u8"].numpy())
    scaled = torch.from_numpy(stretch(values)).permute(2, 0, 1) / 255
    fixture.close("sentinel-2", "bands", scaled, "data.sentinel_tensor", 1e-6)
    condition = diffusionsat.sentinel_condition(values, resolution=None)
    fixture.close("sentinel-2", "condition", condition[0], "data.sentinel_cond", 1e-6)
    assert diffusionsat.sentinel_condition(values, resolution=32).shape == (1, 10, 32, 32)
    with pytest.raises(ValueError, match=r"is \[H, W, 13\]"):
        diffusionsat.sentinel_condition(values[..., :10])


def test_percentile_stretch(fixture):
    got = diffusionsat.percentile_stretch(fixture["data.percentile_in"].numpy())
    fixture.close("16-bit", "stretch", got, "data.percentile_out", 1e-9)
