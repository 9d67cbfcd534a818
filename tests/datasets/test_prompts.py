"""The prompt of a class, by name and by number, for both collections."""

import pytest
from checkpoints.golden import golden

from rs_course import datasets, simulated_earth
from rs_course.datasets import simulated


def test_every_class_of_the_simulator_has_a_phrase_in_its_order():
    assert tuple(simulated.PHRASES) == tuple(simulated_earth.CLASSES)
    assert len(set(simulated.PHRASES.values())) == 10


@pytest.mark.parametrize(("name", "phrase"), simulated.PHRASES.items())
def test_names_and_numbers_agree(name, phrase):
    index = list(simulated.PHRASES).index(name)
    assert datasets.class_prompt(name) == datasets.class_prompt(index) == f"a satellite image of {phrase}"
    assert datasets.class_prompt(name, "eurosat") == f"14_GOOGLE_LEVEL_a Sentinel-2 image of {phrase}"


def test_the_level_is_the_one_nearest_to_ten_metres():
    resolution = {level: 2.0 ** (17 - level) for level in range(10, 19)}
    nearest = min(resolution, key=lambda level: abs(resolution[level] - 10))
    assert datasets.class_prompt(0, dataset="eurosat").startswith(f"{nearest}_GOOGLE_LEVEL_")


@pytest.mark.parametrize("label", ["Lake", "river", 10, -1])
def test_unknown_classes_get_the_list(label):
    with pytest.raises(ValueError, match=r"Unknown class .*: use 0 to 9 or one of AnnualCrop, Forest"):
        datasets.class_prompt(label)


def test_unknown_data_set():
    with pytest.raises(ValueError, match="no prompt table for 'rsicd': use 'simulated', 'eurosat' or 'fmow'"):
        datasets.class_prompt("River", dataset="rsicd")


def test_categories_of_functional_map_of_the_world():
    assert datasets.class_prompt("swimming_pool", "fmow") == "a fmow satellite image of a swimming pool"
    assert datasets.class_prompt(0, "fmow") == "a fmow satellite image of a airport"
    with pytest.raises(ValueError, match="Unknown class 'River': use 0 to 61 or one of airport, "):
        datasets.class_prompt("River", "fmow")


def test_the_sentences_are_those_of_the_official_code():
    data = golden("diffusionsat").info["data"]
    assert list(simulated.FMOW_CATEGORIES) == data["categories_62"]
    known = [case for case in data["captions_nothing_dropped"] if case["kind"] == "fmow"]
    assert known
    for case in known:
        sentence, _, _ = case["caption"].partition(" in ")
        assert datasets.class_prompt(case.get("cls", case["category"]), "fmow") == sentence
