"""Sets that a study makes for itself: once, from a description that its tasks' ids cover."""

import numpy as np
import pytest

from rs_course import datasets, study
from rs_course.paths import data_dir
from rs_course.study import inpaint_augmentation, plan, sets

_WORLD = {"making": "events", "per_kind": 1, "test_per_kind": 1, "events": 2}


def _plan(**world):
    return plan.from_dict(
        {
            "function": "tests.study.cheap:count",
            "sets": {"world": {**_WORLD, **world}},
            "grid": [{"dataset": ["@world/after", "@world"], "seed": 0}],
        }
    )


def test_a_set_is_made_once_and_tasks_get_its_folder(tmp_path):
    said = []
    rows = study.run(_plan(), tmp_path, progress=said.append)
    assert said[0].startswith("made the set world-")
    assert rows["images"].tolist() == [12, 36]
    assert rows["dataset"].tolist() == ["@world/after", "@world"]
    assert len(list((tmp_path / "sets").iterdir())) == 1
    said.clear()
    study.run(_plan(), tmp_path, progress=said.append)
    assert said == ["2 of 2 tasks are done already"]
    other = study.run(_plan(seed=1), tmp_path)
    assert not set(other["id"]) & set(rows["id"])
    assert len(list((tmp_path / "sets").iterdir())) == 2


def test_a_folder_that_is_there_is_used_where_it_lies_and_known_by_its_content(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tile.png").write_bytes(b"a tile")
    rows = [
        study.run(_plan(making="folder", path=str(tmp_path / name)), tmp_path / "out")
        for name in ("one", "two")
    ]
    assert rows[0]["images"].tolist() == [0, 1]
    assert rows[0]["id"].tolist() == rows[1]["id"].tolist()
    assert not (tmp_path / "out" / "sets").exists()


def test_a_folder_that_changes_is_another_set_in_the_same_process(tmp_path):
    (tmp_path / "one").mkdir()
    ids = []
    for pixels in (b"a tile", b"b tile"):
        (tmp_path / "one" / "tile.png").write_bytes(pixels)
        rows = study.run(_plan(making="folder", path=str(tmp_path / "one")), tmp_path / "out")
        ids.append(rows["id"].tolist())
    assert not set(ids[0]) & set(ids[1])


@pytest.mark.parametrize(
    ("name", "task"), [("../out", "@../out"), ("world", "@world/../../etc"), (".", "@.")]
)
def test_a_set_stays_in_the_folder_of_its_study(tmp_path, name, task):
    own = sets.Sets({name: _WORLD}, tmp_path)
    with pytest.raises(ValueError, match=r"unsafe path|no table|no name of a folder"):
        own.of({"dataset": task})


def test_guided_sets_depend_on_the_shots_of_their_task(tmp_path, monkeypatch):
    monkeypatch.setattr("rs_course.study.fingerprints._of_checkpoint", lambda name: name)
    described = {
        "guided": {"making": "real-guidance", "checkpoint": "any", "dataset": "simulated", "per_class": 4}
    }
    own = sets.Sets(described, tmp_path)

    def folder(**task):
        return own.of({"synthetic": "@guided", **task})["synthetic"][0]

    first = folder(real_per_class=1, seed=0)
    assert folder(real_per_class=1, seed=0, steps=5) == first
    assert folder(real_per_class=1, seed=1) != first
    assert folder(real_per_class=4, seed=0) != first
    tasks = [{"synthetic": "@guided", "real_per_class": n, "seed": k} for n, k in ((1, 0), (1, 1), (4, 0))]
    (waiting,) = own.needed(tasks)
    assert len(waiting) == 3
    assert waiting[first]["shots"] == {"real_per_class": 1, "seed": 0}


def test_a_set_that_nobody_describes_is_named():
    lost = {"function": "tests.study.cheap:count", "grid": [{"dataset": "@nowhere", "seed": 0}]}
    with pytest.raises(ValueError, match=r"no table \[sets.nowhere\]"):
        plan.from_dict(lost)


def test_a_set_that_cannot_be_made_stops_the_study(tmp_path):
    with pytest.raises(
        RuntimeError, match=r"the set world-\w+ could not be made: ValueError: A split by event"
    ):
        study.run(_plan(events=1), tmp_path)


@pytest.mark.skipif(
    not (data_dir() / "checkpoints" / "mini-text2earth" / "unet").is_dir(), reason="needs mini-text2earth"
)
def test_edits_paint_inside_the_mask_and_can_be_interrupted(tmp_path):
    described = {
        "world": _WORLD,
        "edited": {
            "making": "edit",
            "from": "@world",
            "checkpoint": "mini-text2earth",
            "per_class": 2,
            "steps": 2,
            "shard": 1,
        },
    }
    own = sets.Sets(described, tmp_path)
    for waiting in own.needed([{"synthetic": "@edited", "dataset": "@world/after"}]):
        for spec in waiting.values():
            sets.make(spec)
    folder = own.folder / own.of({"synthetic": "@edited"})["synthetic"][0]
    tiles = datasets.load(folder)
    assert len(tiles) == 12
    world = own.folder / own.of({"dataset": "@world"})["dataset"][0]
    before, changed = (datasets.load(world / part, "train") for part in ("before", "changed"))
    kind = 1  # the first edited flood is made from the first flood
    own_row = int(np.flatnonzero(before.labels == kind)[0])
    edited = tiles.images[np.flatnonzero(tiles.labels == kind)[0]].astype(float)
    difference = np.abs(edited - before.images[own_row]).mean(2)
    mask = changed.images[own_row][..., 0] > 127
    assert difference[mask].mean() > 1.5 * difference[~mask].mean()  # the VAE redraws fine detail everywhere
    (folder / "part-00001.parquet").unlink()
    kept = (folder / "part-00000.parquet").stat().st_mtime_ns
    inpaint_augmentation.make(folder, world, checkpoint="mini-text2earth", per_class=2, steps=2, shard=1)
    assert (folder / "part-00000.parquet").stat().st_mtime_ns == kept
    np.testing.assert_array_equal(datasets.load(folder).images, tiles.images)
    whole = inpaint_augmentation.make(
        tmp_path / "whole", world, checkpoint="mini-text2earth", per_class=2, steps=2
    )
    assert len(list(whole.glob("*.parquet"))) == 1
    together = datasets.load(whole)
    assert together.labels.tolist() == tiles.labels.tolist()
    assert together.captions == tiles.captions
    assert np.abs(together.images.astype(int) - tiles.images).max() <= 1  # another batch adds up differently
