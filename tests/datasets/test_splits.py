"""Subsets and splits: nested, balanced, disjoint, and by group."""

import numpy as np
import pytest
from pictures import picture, png

from rs_course import datasets


@pytest.fixture
def data(described_folder):
    """Twenty records sorted by name: ten forests, then ten rivers."""
    everything = datasets.load(described_folder, "all")
    return everything.subset(np.argsort(everything.ids))


def test_subsets_are_nested_balanced_and_seeded(data):
    small, large = data.subset(size=6, seed=1), data.subset(size=11, seed=1)
    assert large.ids[:6] == small.ids
    assert np.bincount(small.labels).tolist() == [3, 3] and abs(np.diff(np.bincount(large.labels)))[0] == 1
    assert data.subset(size=6, seed=2).ids != small.ids
    assert sorted(data.subset(size=20).ids) == data.ids
    assert np.array_equal(small.images, data.images[[data.ids.index(name) for name in small.ids]])


def test_a_draw_does_not_depend_on_the_other_records(data):
    kept = data.subset([i for i, name in enumerate(data.ids) if name != data.subset(size=20).ids[0]])
    expected = [name for name in data.subset(size=20).ids if name in kept.ids]
    by_class = [
        [name for name in part if name.startswith("River")] for part in (expected, kept.subset(size=19).ids)
    ]
    assert by_class[0] == by_class[1]


def test_a_class_that_runs_out_leaves_its_turns_to_the_others(data):
    uneven = data.subset([0, 1, *range(10, 20)])
    assert np.bincount(uneven.subset(size=8).labels).tolist() == [2, 6]


def test_subset_by_positions_mask_and_slice(data):
    assert data[2:5].ids == data.subset([2, 3, 4]).ids == data.ids[2:5]
    assert data.subset(data.labels == 1).ids == data.ids[10:]
    assert len(data.subset([])) == 0
    with pytest.raises(ValueError, match="mask has 3 entries for 20 records"):
        data.subset(np.array([True, False, True]))
    with pytest.raises(ValueError, match="either indices or size="):
        data.subset()
    with pytest.raises(IndexError):
        data[20]


def test_with_classes_renumbers(data):
    rivers = data.with_classes(["River"])
    assert rivers.classes == ("River",) and set(rivers.labels) == {0} and rivers[0]["label"] == 0
    swapped = data.with_classes(["River", "Forest"])
    assert [swapped.classes[k] for k in swapped.labels] == [data.classes[k] for k in data.labels]
    with pytest.raises(ValueError, match="no class 'Lake'; it has Forest, River"):
        data.with_classes(["Lake"])


def test_stratified_split(data):
    parts = datasets.stratified_split(data, (0.5, 0.3, 0.2), seed=3)
    assert [np.bincount(part.labels).tolist() for part in parts] == [[5, 5], [3, 3], [2, 2]]
    assert sorted(name for part in parts for name in part.ids) == data.ids
    assert not datasets.overlap(parts[0], parts[1])
    assert parts[0].ids != datasets.stratified_split(data, (0.5, 0.3, 0.2), seed=4)[0].ids
    with pytest.raises(ValueError, match="add up to 1"):
        datasets.stratified_split(data, (0.5, 0.2))


@pytest.mark.parametrize("seed", range(5))
def test_group_split_keeps_groups_together(data, seed):
    train, test = datasets.group_split(data, "event", (0.6, 0.4), seed=seed)
    events = [{metadata["event"] for metadata in part.metadata} for part in (train, test)]
    assert not events[0] & events[1] and len(train) == 12 and len(test) == 8


def test_group_split_by_list_and_function_agree(data):
    events = [metadata["event"] for metadata in data.metadata]
    by_list = datasets.group_split(data, events)
    by_function = datasets.group_split(data, lambda name, metadata: metadata["event"])
    assert [part.ids for part in by_list] == [part.ids for part in by_function]


def test_every_part_gets_a_group_even_if_one_group_is_huge(data):
    groups = ["large"] * 18 + ["b", "c"]
    parts = datasets.group_split(data, groups, (0.4, 0.3, 0.3))
    assert sorted(len(part) for part in parts) == [1, 1, 18]


def test_group_split_errors(data):
    with pytest.raises(ValueError, match="no metadata column 'storm'"):
        datasets.group_split(data, "storm")
    with pytest.raises(ValueError, match="3 groups for 20 records"):
        datasets.group_split(data, ["a", "b", "c"])
    with pytest.raises(ValueError, match="1 groups cannot be split into 2 parts"):
        datasets.group_split(data, ["a"] * 20)


def test_places_are_positions(data):
    places = datasets.place_groups(data)
    assert places[:4] == [(8.5, 47.25), (8.5, 47.25), (9.5, 47.25), (9.5, 47.25)]
    assert len(set(places)) == 10


def test_places_need_positions(image_folder):
    with pytest.raises(ValueError, match=r"Forest/Forest_\d.png of set has no position"):
        datasets.place_groups(datasets.load(image_folder))


def test_overlap_finds_the_same_picture_under_another_name(image_folder):
    (image_folder / "River" / "copy.png").write_bytes(png(picture(3)))
    data = datasets.load(image_folder, "all")
    rivers, forests = data.with_classes(["River"]), data.with_classes(["Forest"])
    assert datasets.overlap(forests, rivers) == [("Forest/Forest_3.png", "River/copy.png")]
