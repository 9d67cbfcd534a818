"""The simulated Earth as a data set: the renderer's own pixels, nested, disjoint, resumable."""

from itertools import pairwise

import numpy as np
import pytest

from rs_course import datasets, simulated_earth
from rs_course.datasets import simulated


def test_records_are_the_simulators_scenes():
    data = datasets.load("simulated", "val", size=12, seed=2)
    for k in (0, 7, 11):
        name, seed = simulated_earth.CLASSES[k % 10], 1_000_000_000 + 2 * 100_000 + k // 10
        scene = simulated_earth.scene(name, seed)
        assert np.array_equal(data.images[k], scene.image)
        assert data.captions[k] == list(scene.captions) and data.ids[k] == f"val/{name}/{seed}"
        assert data.metadata[k] == pytest.approx(scene.metadata)
        assert data.classes[data.labels[k]] == name
    assert isinstance(data.images, np.memmap) and data.images.dtype == np.uint8
    assert data[3]["provenance"] == data.provenance == "simulated · val · seed 2"
    assert set(data[0]["metadata"]) == {"lon", "lat", "gsd", "cloud_cover", "year", "month", "day"}


def test_sizes_are_nested_balanced_and_rendered_once(monkeypatch):
    large = datasets.load("simulated", size=25)
    monkeypatch.setattr(simulated, "_render", None)  # everything is in the cache now
    small = datasets.load("simulated", size=20)
    assert np.array_equal(small.images, large.images[:20]) and small.ids == large.ids[:20]
    assert np.bincount(small.labels).tolist() == [2] * 10
    assert len(datasets.load("simulated", size=0)) == 0


def test_splits_and_draws_share_no_place():
    parts = [datasets.load("simulated", split, size=10) for split in ("train", "val", "test")]
    parts.append(datasets.load("simulated", "train", size=10, seed=1))
    places = [set(datasets.place_groups(part)) for part in parts]
    assert len(set.union(*places)) == 40
    assert not any(datasets.overlap(parts[0], part) for part in parts[1:])


def test_split_ranges_are_disjoint_for_every_draw():
    last = simulated.SCENES_PER_CLASS * simulated.DRAWS
    starts = sorted(simulated.SPLIT_START.values())
    assert all(after - before >= last for before, after in pairwise(starts))


def test_an_interrupted_rendering_goes_on_where_it_stopped(monkeypatch, cache):
    monkeypatch.setattr(simulated, "_BATCH", 4)
    rendered = []

    def render(label, seed, stop_at=10):
        if len(rendered) >= stop_at:
            raise KeyboardInterrupt
        rendered.append((label, seed))
        return original(label, seed)

    original = simulated._render
    monkeypatch.setattr(simulated, "_render", render)
    with pytest.raises(KeyboardInterrupt):
        datasets.load("simulated", size=12)
    # What a killed process can leave behind: half a line, and pixels without a line.
    (folder,) = cache.glob("simulated/*/train-0")
    with open(folder / "records.jsonl", "a", encoding="utf-8") as lines:
        lines.write('{"id": "half')
    with open(folder / "images.u8", "ab") as images:
        images.write(bytes(12_288 + 17))
    monkeypatch.setattr(simulated, "_render", lambda *place: render(*place, stop_at=100))
    data = datasets.load("simulated", size=12)
    assert len(rendered) == 10 + 4  # eight were complete; two were lost with their batch
    assert np.array_equal(data.images[8], simulated_earth.scene("River", 0).image)


def test_worker_processes_render_the_same():
    alone = datasets.load("simulated", size=10).images
    together = datasets.load("simulated", size=20, workers=2)
    assert np.array_equal(together.images[:10], alone) and len(together) == 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "all"}, "no split 'all': use train, val or test"),
        ({"size": 1_000_001}, "size=1000001 is not possible: .* 0 to 1,000,000 records"),
        ({"seed": -1}, "seed=-1 is not possible"),
        ({"image_size": 128}, "tiles of 64×64 pixels"),
    ],
)
def test_impossible_requests(arguments, message):
    with pytest.raises(ValueError, match=message):
        datasets.load("simulated", **arguments)
