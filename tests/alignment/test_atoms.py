"""Atoms: opposite statements; whoever draws the truth wins them, and whoever does not listen gets a half."""

import numpy as np
import pytest

from rs_course import simulated_earth
from rs_course.alignment import atoms as module
from rs_course.checkpoints.maps import classes_of_scene


@pytest.fixture(scope="module")
def scenes():
    classes = simulated_earth.CLASSES
    return [simulated_earth.scene(classes[k % 10], 2_300_000_000 + k) for k in range(80)]


@pytest.fixture(scope="module")
def found(scenes):
    return module.atoms(scenes)


@pytest.fixture
def perfect(scenes, monkeypatch):
    """A reader that knows the land cover of every scene, as it is, mirrored and turned."""
    known = {}
    for scene in scenes:
        truth = module.shrunk(classes_of_scene(scene))
        for change in (lambda x: x, np.fliplr, np.flipud, lambda x: np.rot90(x, -1)):
            known[np.ascontiguousarray(change(scene.image)).tobytes()] = change(truth)
    blank = np.zeros((64, 64), np.uint8)
    read = lambda _, x: np.stack([known.get(t.tobytes(), blank) for t in x])  # noqa: E731
    monkeypatch.setattr(module, "read_landcover", read)


def tiles(found, side):
    return np.stack([getattr(one, side) for one in found])


def test_who_draws_the_truth_wins_and_who_draws_the_opposite_loses(found, perfect):
    kinds = {one.kind for one in found}
    assert {"amount", "side", "course", "sky", "season"} <= kinds <= set(module.KINDS)
    right = module.obedience(found, module.won(found, tiles(found, "image"), tiles(found, "other"), None))
    wrong = module.obedience(found, module.won(found, tiles(found, "other"), tiles(found, "image"), None))
    for kind in kinds:
        assert right[kind].estimate > 0.9 and wrong[kind].estimate < 0.1, kind
        assert right[kind].low < right[kind].estimate <= right[kind].high


def test_a_generator_that_does_not_listen_gets_one_half(found, perfect):
    same = tiles(found, "image")
    assert (module.won(found, same, same, None) == 0.5).all()


def test_opposites_differ_in_one_statement(found):
    for one in found:
        assert one.sentence != one.opposite, one
        if one.kind == "side":
            words = set(one.sentence.split()) ^ set(one.opposite.split())
            assert {w.strip(".,;") for w in words} <= {"left", "right", "top", "bottom", "east", "west"}


def test_an_unknown_kind_and_an_empty_list_are_named(scenes):
    with pytest.raises(ValueError, match="no kind 'colour': use amount"):
        module.atoms(scenes[:1], ["colour"])
    with pytest.raises(ValueError, match="give more scenes"):
        module.obedience([], np.empty(0))


def test_the_shipped_reader_knows_where_rivers_flow():
    """In unseen places; one that takes a river for the wood beside it tells three of four pairs apart."""
    found = module.atoms([simulated_earth.scene("River", 2_300_000_000 + k) for k in range(60)], ["course"])
    wins = module.won(found, tiles(found, "image"), tiles(found, "other"), module.load_reader())
    assert len(found) > 30 and wins.mean() > 0.85
