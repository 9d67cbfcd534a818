"""xBD's layout, imitated by a few drawn files: pairs, classes, masks, and the split by event."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from rs_course import datasets, study
from rs_course.datasets import xbd
from rs_course.study import plan


@pytest.fixture
def copy(tmp_path):
    """Three floods and one earthquake; each image of 128 pixels has one damaged and one whole building."""
    source = tmp_path / "xbd" / "train"
    for folder in ("images", "labels"):
        (source / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for event, kind in {
        "nepal-flooding": "flooding",
        "midwest-flooding": "",
        "east-flood": "",
        "city-earthquake": "",
    }.items():
        for number in range(3):
            name = f"{event}_{number:08d}"
            for when in ("pre", "post"):
                pixels = rng.integers(0, 255, (128, 128, 3), np.uint8)
                Image.fromarray(pixels).save(source / "images" / f"{name}_{when}_disaster.png")
            buildings = [
                {"properties": {"subtype": "destroyed"}, "wkt": "POLYGON ((8 8, 24 8, 24 24, 8 24, 8 8))"},
                {"properties": {"subtype": "no-damage"}, "wkt": "POLYGON ((70 70, 90 70, 90 90, 70 70))"},
            ]
            label = {"features": {"xy": buildings}, "metadata": {"disaster_type": kind}}
            (source / "labels" / f"{name}_post_disaster.json").write_text(json.dumps(label))
    return tmp_path / "xbd"


def test_tiles_with_damage_are_cut_labelled_and_parted_by_event(copy, tmp_path):
    xbd.write(tmp_path / "set", source=copy, side=64, size=32)
    after = datasets.load(tmp_path / "set" / "after", "all")
    assert after.classes == ("earthquake", "flood")
    assert len(after) == 12  # of four tiles per image only the one with the destroyed building
    changed = datasets.load(tmp_path / "set" / "changed", "all")
    assert changed.images[0].mean() / 255 == pytest.approx(17 * 17 / 64**2, abs=0.02)
    train, test = (datasets.load(tmp_path / "set" / "after", part) for part in ("train", "test"))
    floods = [{m["event"] for m in part.metadata if m["parted_by"] == "event"} for part in (train, test)]
    assert len(floods[0]) == 2
    assert len(floods[1]) == 1
    assert not floods[0] & floods[1]
    assert {m["parted_by"] for m in test.metadata if "earthquake" in m["event"]} == {"image"}


def test_a_study_runs_on_a_local_copy_wherever_it_lies(copy, tmp_path):
    """Real pairs in the place of simulated ones: cut once, and known by their files wherever they lie."""
    content = {
        "sets": {"disaster": {"making": "xbd", "source": str(copy), "side": 64, "size": 32}},
        "base": {"dataset": "@disaster/after", "real_per_class": 2, "steps": 1, "seed": 0},
        "grid": [{"arm": "real"}, {"arm": "real", "dataset": "@disaster/before"}],
    }
    rows = study.run(plan.from_dict(content), tmp_path / "out")
    assert list(rows["class_names"][0]) == ["earthquake", "flood"]
    assert rows["n_real"].tolist() == [4, 4]
    assert rows["test_hash"].nunique() == 2  # the same places, before and after
    content["sets"]["disaster"]["source"] = str(shutil.move(copy, tmp_path / "elsewhere"))
    assert study.run(plan.from_dict(content), tmp_path / "out")["id"].tolist() == rows["id"].tolist()
    content["sets"]["disaster"]["source"] = str(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="give the one that holds the data"):
        study.run(plan.from_dict(content), tmp_path / "out")


@pytest.mark.parametrize(
    ("event", "kind"),
    [("guatemala-volcano", "volcano"), ("hurricane-michael", "storm"), ("santa-rosa-wildfire", "wildfire"),
     ("palu-tsunami", "tsunami"), ("joplin-tornado", "storm"), ("mexico-earthquake", "earthquake")],
)  # fmt: skip
def test_events_are_told_by_their_names(event, kind):
    assert xbd.kind_of(event) == kind


def test_what_is_no_copy_of_xbd_is_told_how_to_get_one(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"register at https://xview2\.org"):
        xbd.write(tmp_path / "set", source=tmp_path)
    with pytest.raises(ValueError, match="is none of earthquake"):
        xbd.kind_of("meteorite-strike")
