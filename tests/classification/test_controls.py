"""Arms and controls: what they change, what they keep, and the leaks they find."""

import numpy as np
import pytest

from classification.conftest import NAMES, coloured
from rs_course import datasets
from rs_course.classification import Tiles, compose, controls, real_shots


def test_budgets_are_nested_balanced_and_drawn_by_the_seed(simulated):
    data, _ = simulated
    small, large, other = (real_shots(data, n, seed=s) for n, s in ((2, 0), (5, 0), (5, 1)))
    assert (small.per_class() == 2).all() and (large.per_class() == 5).all()
    assert large.hashes()[: len(small)] == small.hashes()
    assert set(large.hashes()) != set(other.hashes())
    with pytest.raises(
        ValueError, match="has 10 images of the class AnnualCrop, but 11 per class are wanted"
    ):
        real_shots(data, 11, seed=0)


def test_ratios_are_nested():
    tiles = coloured(8)
    assert tiles.first(6).hashes()[:9] == tiles.first(3).hashes()
    with pytest.raises(ValueError, match="has 7 images of the class blue, but 8 are needed"):
        tiles.take(np.arange(1, 24)).first(8)


def test_arms():
    real, synthetic = coloured(2), coloured(6, seed=1)
    assert compose("real", real) == (real, None)
    assert compose("synthetic", None, synthetic) == (None, synthetic)
    assert compose("mixed", real, synthetic) == (real, synthetic)
    _, shuffled = compose("shuffled", real, synthetic, seed=3)
    assert np.array_equal(shuffled.images, synthetic.images)
    assert np.array_equal(shuffled.per_class(), synthetic.per_class())
    assert (shuffled.labels != synthetic.labels).any()
    _, copies = compose("duplicate", real, copies=18)
    assert len(copies) == 18 and set(copies.hashes()) == set(real.hashes())
    assert (copies.per_class() == 6).all()
    uneven = controls.duplicates(real, 8)
    assert sorted(np.unique(uneven.hashes(), return_counts=True)[1]) == [1, 1, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("both", coloured(1), coloured(1)), "no arm 'both'"),
        (("mixed", None, coloured(1)), "needs real images"),
        (("mixed", coloured(1), None), "needs a synthetic set"),
        (("mixed", coloured(1), coloured(1, names=("blue", "red", "green"))), "label spaces must be equal"),
    ],
)
def test_arms_that_cannot_be_composed(arguments, message):
    with pytest.raises(ValueError, match=message):
        compose(*arguments)


def test_sets_are_checked_and_hashed():
    tiles = coloured(2)
    assert tiles.hash() == coloured(2).hash()
    assert tiles.hash() != Tiles(tiles.images, tiles.labels[::-1].copy(), NAMES).hash()
    assert tiles.in_classes(("red", "blue")).labels.tolist() == [1, 0, 1, 0]
    with pytest.raises(ValueError, match="has no class violet, only blue, green, red"):
        tiles.in_classes(("violet",))
    with pytest.raises(ValueError, match="32×32 and 16×16 pixels"):
        tiles.join(coloured(1, side=16))
    with pytest.raises(ValueError, match="cannot be joined"):
        tiles.join(coloured(1, names=("a", "b", "c")))


def test_copies_are_found_though_turned_and_disturbed(simulated):
    train = Tiles.of(simulated[0])
    rng = np.random.default_rng(0)
    test = Tiles.of(simulated[1])
    disguised = np.rot90(train.images[30:34, :, ::-1], 1, (1, 2)) + rng.integers(-3, 4, (4, 64, 64, 3))
    images = np.concatenate([test.images, disguised.clip(0, 255).astype(np.uint8), train.images[7:8]])
    leaky = Tiles(
        images, np.concatenate([test.labels, train.labels[30:34], train.labels[7:8]]), train.classes
    )
    found = controls.leakage(train, leaky)
    assert found.identical == [(7, 54)]
    assert {(30, 50), (31, 51), (32, 52), (33, 53), (7, 54)} <= set(found.near)
    assert not found.clean and found.median > 3 * found.threshold
    known = controls.nearest(disguised.clip(0, 255).astype(np.uint8), train.images)
    assert known.index.tolist() == [30, 31, 32, 33] and len(set(known.symmetry)) == 1


def test_nearest_is_the_brute_force_minimum(simulated):
    a, b = (np.asarray(data.images[:12]) for data in simulated)
    found = controls.nearest(a, b, side=4, block=5)

    def small(image):
        return image.reshape(4, 16, 4, 16, 3).mean((1, 3))

    views = [[np.rot90(v, k) for v in (small(x), small(x)[:, ::-1]) for k in range(4)] for x in b]
    table = [[min(np.sqrt(((small(q) - v) ** 2).mean()) for v in own) for own in views] for q in a]
    assert np.allclose(found.distance, np.min(table, axis=1), atol=1e-3)
    assert np.array_equal(found.index, np.argmin(table, axis=1))


def test_pre_event_control_finds_that_place_stands_for_class():
    """Every event has its own colour, whose class no other event's colour tells; the disaster is a square."""
    rng, events = np.random.default_rng(0), np.repeat(np.arange(8), 12)
    bits = events[:, None] >> np.arange(3) & 1  # the corners of the colour cube; the class is their parity
    labels = bits.sum(1) % 2
    before = (rng.integers(0, 60, (96, 16, 16, 3)) + 30 + 130 * bits[:, None, None, :]).astype(np.uint8)
    after = before.copy()
    after[labels == 0, 4:12, 4:12] = 0
    after[labels == 1, 4:12, 4:12] = 255
    sets = [Tiles(images, labels, ("flood", "fire")) for images in (before, after)]
    found = controls.pre_event_control(
        *sets, events, steps=60, batch_size=32, progressive_resizing=(), seed=1
    )
    assert found["chance"] == 0.5
    assert found["random_before"] > 0.9  # without any disaster to be seen
    assert found["group_before"] < 0.6
    assert found["group_after"] > found["group_before"] + 0.25
    with pytest.raises(ValueError, match="needs at least two per class"):
        controls.pre_event_control(*sets, labels, steps=1)
    with pytest.raises(ValueError, match="same scenes in the same order"):
        controls.pre_event_control(sets[0], sets[1].take(np.arange(95)), events, steps=1)


def test_splits_share_no_tile_simulated():
    parts = {split: datasets.load("simulated", split, size=60) for split in ("train", "val", "test")}
    for a, b in (("train", "val"), ("train", "test"), ("val", "test")):
        assert datasets.overlap(parts[a], parts[b]) == []
        assert not set(datasets.place_groups(parts[a])) & set(datasets.place_groups(parts[b]))


def test_splits_share_no_tile_eurosat(shared):
    file = shared / "data" / "eurosat.tar"
    if not file.exists():
        pytest.skip("needs ../shared/data/eurosat.tar")
    train, test = datasets.load(file, "train"), datasets.load(file, "test")
    assert len(train) == 10_000 and len(test) == 2_000
    assert datasets.overlap(train, test) == []
