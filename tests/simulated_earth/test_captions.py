"""Captions say what the maps show."""

import re
from functools import cache

import numpy as np
import pytest

from rs_course.simulated_earth import CLASSES, LANDCOVER, scene
from rs_course.simulated_earth.captions import counted, extent, place_phrase, position, sides

CASES = [(label, seed) for label in CLASSES for seed in range(20, 26)]
cached_scene = cache(scene)


@pytest.mark.parametrize(("label", "seed"), CASES)
def test_facts_are_measured_on_the_maps(label, seed):
    s = cached_scene(label, seed)
    counts = np.bincount(s.landcover.ravel(), minlength=len(LANDCOVER))
    for name, share in s.facts["shares"].items():
        assert share == round(100 * counts[LANDCOVER[name][0]] / 65536)
        assert s.facts["positions"][name] == extent(s.landcover == LANDCOVER[name][0])
    assert s.facts["cloud_cover"] == pytest.approx(s.clouds.mean(), abs=1e-4)


@pytest.mark.parametrize(("label", "seed"), CASES)
def test_sentences_agree_with_the_facts(label, seed):
    s = cached_scene(label, seed)
    text = " ".join(s.captions)
    assert all(c[0].isupper() and c.endswith(".") and "  " not in c for c in s.captions)
    assert (re.search(r"snow lies|white with snow", text) is not None) == s.facts["snow"]
    assert ("clouds cover" in text.lower() or "clouds hide" in text.lower()) == (s.facts["cloud_cover"] > 0)
    words = ["no", "one", "two", "three", "four", "five"]
    for key, noun in (("villages", "village"), ("ponds", "pond"), ("bridges", "bridge")):
        found = re.search(rf"(\w+) {noun}s?,", text)
        assert (words.index(found[1]) if found else 0) == len(s.facts[key])
    assert (re.search(r"\ba river (meanders|bends|winds|runs|flows)", text, re.I) is not None) == bool(
        s.facts["river"]
    )


def test_a_river_out_of_sight_is_not_claimed():
    hidden = scene("River", 36)  # bends out of the tile
    assert hidden.facts["river"] is None
    assert "land near a river" in hidden.captions[0]


def test_wording_varies_between_seeds():
    assert len({scene("River", seed).captions[0] for seed in range(8)}) > 2


def test_positions():
    mask = np.zeros((256, 256), bool)
    mask[10:30, 200:220] = True
    assert position(mask) == "top right" and sides(mask) == []
    mask[:] = False
    mask[100:150, 0:256] = True
    assert position(mask) == "centre" and sides(mask) == ["left", "right"]
    assert extent(np.ones((256, 256), bool)) == "everywhere"
    assert place_phrase("left") == "on the left" and place_phrase("top right") == "in the top right"
    assert counted(["left", "top right"], "pond") == "two ponds, on the left and in the top right"
    assert counted(["top"] * 2, "bridge") == "two bridges, both at the top"
