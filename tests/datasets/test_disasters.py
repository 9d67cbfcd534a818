"""Pairs before and after a disaster: deterministic, changed where the mask says, parted by event."""

import numpy as np
import pytest

from rs_course import datasets, simulated_earth
from rs_course.datasets import disasters


@pytest.mark.parametrize("kind", disasters.KINDS)
def test_a_pair_is_a_function_of_its_arguments_and_shows_one_place_twice(kind):
    first, again = disasters.pair(kind, 1), disasters.pair(kind, 1)
    for name in ("before", "after", "before_hr", "after_hr", "changed"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert first.before.shape == first.after.shape == (64, 64, 3)
    assert first.after.dtype == np.uint8
    assert 0.02 < first.changed.mean() < 0.95
    assert first.event.after > first.event.before
    assert kind in first.captions[-1]
    difference = np.abs(first.after_hr.astype(int) - first.before_hr).mean(2)
    assert difference[first.changed].mean() > 5


@pytest.mark.parametrize("kind", ["flood", "tsunami"])
def test_away_from_the_water_nothing_is_changed(kind):
    """Floods and tsunamis touch no pixel outside their mask (ash, dust and smoke drift further)."""
    one = disasters.pair(kind, 0)
    struck = one.event
    undisturbed = [
        scene
        for scene in (
            simulated_earth.scene(
                struck.label,
                struck.seed + k,
                date=struck.after,
                cloud_cover=0.0,
                lon=struck.lon,
                lat=struck.lat,
            )
            for k in range(40)
        )
        if (np.abs(scene.image_hr.astype(int) - one.after_hr)[~one.changed] <= 1).all()
    ]
    assert len(undisturbed) == 1


def test_the_frozen_simulator_is_not_touched():
    """Painting works on copies: the scene after an event renders the same bytes as before."""
    before = simulated_earth.scene("River", 7).image_hr.copy()
    disasters.pair("flood", 0)
    np.testing.assert_array_equal(simulated_earth.scene("River", 7).image_hr, before)


def test_events_share_land_region_and_dates_and_differ_from_each_other():
    scenes = [disasters.pair("storm", number, events=2) for number in (0, 2, 1)]
    assert scenes[0].event == scenes[1].event != scenes[2].event
    assert (scenes[0].before != scenes[1].before).any()
    other = disasters.event("storm", 0, seed=1)
    assert other != scenes[0].event


def test_written_sets_load_and_no_event_is_on_two_sides(tmp_path):
    counted = []
    disasters.write(tmp_path, per_kind=3, test_per_kind=1, progress=lambda *done: counted.append(done))
    assert counted[-1] == (24, 24)
    for when in ("before", "after", "changed"):
        train, test = (datasets.load(tmp_path / when, part, origin="simulated") for part in ("train", "test"))
        assert train.classes == disasters.KINDS
        assert (len(train), len(test)) == (18, 6)
        sides = [{entry["event"] for entry in part.metadata} for part in (train, test)]
        assert not sides[0] & sides[1]
    written = sorted((tmp_path / "after").rglob("*.png"))
    times = [file.stat().st_mtime_ns for file in written]
    disasters.write(tmp_path, per_kind=3, test_per_kind=1)
    assert [file.stat().st_mtime_ns for file in written] == times


def test_a_random_split_has_every_event_on_both_sides():
    plan = disasters._numbers(40, 20, 4, "random")
    parts = {part: {number % 4 for number, where in plan if where == part} for part in ("train", "test")}
    assert parts["train"] == parts["test"] == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda path: disasters.pair("meteorite", 0), "no disaster 'meteorite'; there are earthquake"),
        (lambda path: disasters.pair("flood", 0, events=0), "at least one event"),
        (lambda path: disasters.write(path, split="place"), "use 'event'"),
        (lambda path: disasters.write(path, events=1), "class and place are the same"),
    ],
)
def test_bad_input_gets_one_sentence(call, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        call(tmp_path)
