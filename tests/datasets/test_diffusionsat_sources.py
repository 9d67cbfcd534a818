"""Captions and Sentinel-2 pictures equal those of the official data code."""

import hashlib
import json

import numpy as np
import pytest
import torch
from checkpoints.golden import golden

from rs_course.datasets import class_prompt, diffusionsat
from rs_course.datasets.diffusionsat import countries, stretch


@pytest.fixture(scope="module")
def fixture():
    return golden("diffusionsat")


def test_captions(fixture):
    data = fixture.info["data"]
    for case in data["captions_nothing_dropped"]:
        if case["kind"] == "fmow":
            got = diffusionsat.fmow_caption(case.get("cls", case["category"]), case["country_code"])
            assert got == case["caption"]
    assert list(diffusionsat.FMOW_CATEGORIES) == data["categories_62"]


def test_a_category_is_a_class_with_a_prompt():
    assert class_prompt("swimming_pool", "fmow") == "a fmow satellite image of a swimming pool"
    assert class_prompt(0, "fmow") == "a fmow satellite image of a airport"
    assert diffusionsat.fmow_caption("airport", "AUS") == "a fmow satellite image of a airport in Australia"
    with pytest.raises(ValueError, match="Unknown class 'River': use 0 to 61 or one of airport, "):
        class_prompt("River", "fmow")


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
