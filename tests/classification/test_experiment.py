"""One task, from dict to row: deterministic, picklable, and clear about what is impossible."""

import pickle

import numpy as np
import pytest
from alignment.conftest import build_clip

from classification.conftest import coloured, write_set
from rs_course import datasets
from rs_course.classification import Task, Tiles, evaluation, run_task

QUICK = {"dataset": "simulated", "pool": 100, "test": 50, "real_per_class": 3, "steps": 6, "batch_size": 16}


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    """Tiles of other simulated places stand in for a generated set."""
    tiles = Tiles.of(datasets.load("simulated", "train", size=80, seed=1))
    return str(write_set(tmp_path_factory.mktemp("set"), tiles))


def same(first, second):
    return {k: v for k, v in first.items() if k != "seconds"} == {
        k: v for k, v in second.items() if k != "seconds"
    }


def test_the_same_task_gives_the_same_row(synthetic):
    task = QUICK | {"arm": "mixed", "synthetic": synthetic, "ratio": 2}
    row = run_task(task)
    assert same(row, run_task(pickle.loads(pickle.dumps(task))))
    assert same(row, pickle.loads(pickle.dumps(row)))
    assert not same(row, run_task(task | {"seed": 1}))
    correct = evaluation.unpack(row["correct"], row["n_test"])
    assert correct.mean() == pytest.approx(row["accuracy"])
    confusion = np.reshape(row["confusion"], (10, 10))
    assert confusion.sum() == 50 and confusion.trace() == correct.sum()
    assert np.mean(row["recall"]) == pytest.approx((confusion.diagonal() / confusion.sum(1)).mean(), abs=1e-6)
    plain = (int, float, str, bytes, list)
    assert all(type(value) in plain for value in row.values())
    assert all(
        type(item) in (int, float, str) for value in row.values() if type(value) is list for item in value
    )


def test_arms_share_real_shots_and_test_images(synthetic):
    rows = {
        arm: run_task(QUICK | {"arm": arm, "synthetic": synthetic, "ratio": 2})
        for arm in ("real", "synthetic", "mixed", "duplicate", "shuffled")
    }
    assert {arm: (row["n_real"], row["n_synthetic"]) for arm, row in rows.items()} == {
        "real": (30, 0), "synthetic": (0, 60), "mixed": (30, 60), "duplicate": (30, 60), "shuffled": (30, 60),
    }  # fmt: skip
    assert len({row["test_hash"] for row in rows.values()}) == 1
    assert {row["real_hash"] for row in rows.values()} == {rows["real"]["real_hash"], ""}
    assert rows["mixed"]["synthetic_hash"] == rows["synthetic"]["synthetic_hash"]
    assert rows["shuffled"]["synthetic_hash"] != rows["mixed"]["synthetic_hash"]
    assert len({row["predictions_hash"] for row in rows.values()}) == 5


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    build_clip(folder)
    return str(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"recipe": "paired"},
        {"recipe": "pretrain"},
        {"recipe": "paired", "synthetic_weight": 0.2},
        {"recipe": "soft-targets"},
        {"recipe": "soft-targets+paired", "classifier": "clip-tuning"},
        {"classifier": "linear-probe"},
        {"augment": "flip+rotate+cutmix"},
        {"symmetries": False},
        {"lr": 1e-3},
        {"weight_decay": 1.0},
        {"label_smoothing": 0.0},
    ],
)
def test_every_setting_changes_the_run(synthetic, clip, change, plain_row):
    row = run_task(QUICK | {"arm": "mixed", "synthetic": synthetic, "scorer": clip} | change)
    assert row["synthetic_hash"] == plain_row["synthetic_hash"]
    assert row["predictions_hash"] != plain_row["predictions_hash"] or row["ece"] != plain_row["ece"]


@pytest.fixture(scope="module")
def plain_row(synthetic):
    return run_task(QUICK | {"arm": "mixed", "synthetic": synthetic})


def test_the_filter_takes_what_is_recognised_and_says_when_that_is_nothing(synthetic, clip, monkeypatch):
    task = QUICK | {"arm": "mixed", "synthetic": synthetic, "scorer": clip, "recipe": "clip-filter"}

    def logits(scorer, images, prompts, right=5.0):
        assert prompts[0] == "a satellite image of annual crop fields"
        labels = np.tile(np.arange(10), 8)  # the set's own order
        recognised = np.arange(80) >= 20  # all but the first two of each class
        return np.where(recognised[:, None] & np.eye(10, dtype=bool)[labels], right, 0.0)

    scoring = "rs_course.classification.recipes.zero_shot_logits"
    monkeypatch.setattr(scoring, logits)
    row = run_task(task)
    assert (row["n_candidates"], row["n_rejected"], row["n_synthetic"]) == (80, 20, 30)
    monkeypatch.setattr(
        "rs_course.classification.recipes.zero_shot_logits", lambda *a: logits(*a, right=-5.0)
    )
    with pytest.raises(ValueError, match="leaves no image of the class AnnualCrop"):
        run_task(task)


def test_a_real_scorer_filters_too(synthetic, clip):
    """A scorer with random weights recognises some classes and not others, and the task says so."""
    with pytest.raises(ValueError, match="leaves no image of the class"):
        run_task(QUICK | {"arm": "mixed", "synthetic": synthetic, "scorer": clip, "recipe": "clip-filter"})


def test_a_test_image_in_the_training_set_is_counted(tmp_path, plain_row):
    test = Tiles.of(datasets.load("simulated", "test", size=50))
    leaky = write_set(tmp_path, test)
    row = run_task(QUICK | {"arm": "synthetic", "synthetic": str(leaky), "synthetic_per_class": 2})
    assert row["n_leaked"] == 20
    assert plain_row["n_leaked"] == 0


def test_some_classes_only(synthetic):
    task = QUICK | {"arm": "mixed", "synthetic": synthetic, "classes": "River,Forest"}
    row = run_task(task)
    assert row["class_names"] == ["River", "Forest"] and row["n_real"] == 6 and len(row["recall"]) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arms": "real"}, "no setting 'arms'; it has dataset, pool"),
        ({"arm": "fake"}, "no arm 'fake'"),
        ({"arm": "mixed"}, "needs a generated set"),
        ({"real_per_class": 0}, "at least one image per class"),
        ({"real_per_class": 11}, "has 10 images of the class AnnualCrop, but 11"),
        ({"arm": "duplicate", "ratio": 0}, "adds 0 images per class"),
        ({"recipe": "magic"}, "no recipe 'magic'"),
        ({"recipe": "pretrain", "classifier": "linear-probe"}, "needs a network to pre-train"),
        ({"classes": "River,Moon"}, "no class 'Moon'"),
        ({"dataset": "nowhere"}, "no data set or path 'nowhere'"),
    ],
)
def test_impossible_tasks(change, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        run_task(QUICK | change)


def test_synthetic_sets_that_do_not_fit(tmp_path, synthetic):
    eighty = Tiles.of(datasets.load(synthetic))
    missing = write_set(tmp_path / "missing", eighty.take(eighty.labels != 8))
    other = write_set(tmp_path / "other", coloured(4, side=64))
    small = write_set(tmp_path / "small", Tiles(eighty.images[:, :32, :32], eighty.labels, eighty.classes))
    task = QUICK | {"arm": "synthetic"}
    with pytest.raises(ValueError, match="has no image of the class River"):
        run_task(task | {"synthetic": str(missing)})
    with pytest.raises(ValueError, match="no class AnnualCrop, only blue, green, red"):
        run_task(task | {"synthetic": str(other)})
    with pytest.raises(ValueError, match="32×32 pixels and the test images 64×64"):
        run_task(task | {"synthetic": str(small)})
    with pytest.raises(ValueError, match="has 8 images of the class AnnualCrop, but 9 are needed"):
        run_task(task | {"synthetic": synthetic, "synthetic_per_class": 9})


def test_defaults_are_a_task():
    assert Task.of({}) == Task() == Task.of(Task())
    assert Task.of({"real_per_class": 4, "ratio": 2}).added == 8
