"""Generated sets: what is written is what is read, with prompt, label, metadata, seed and checkpoint."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pictures import picture, png

from rs_course import datasets

CLASSES = ["Forest", "Lake", "River"]


def rows(indices, seed=7, **changes):
    return [
        {
            "index": i,
            "image": picture(i),
            "prompt": datasets.class_prompt("River" if i % 2 else "Forest"),
            "label": "River" if i % 2 else "Forest",
            "metadata": {"lon": 8.5, "month": 1 + i % 12},
            "seed": seed,
            "checkpoint": "mini-diffusionsat",
            "checkpoint_sha256": "0" * 64,
            "settings": {"sampler": "ddim", "steps": 20, "guidance": 3.0},
            **changes,
        }
        for i in indices
    ]


def test_what_is_written_is_read_back(tmp_path):
    folder = tmp_path / "run"
    datasets.write_shard(folder / "part-00001.parquet", rows(range(100, 230)), classes=CLASSES)
    datasets.write_shard(folder / "part-00000.parquet", rows(range(100)), classes=CLASSES)
    data = datasets.load(folder)
    assert len(data) == 230 and data.ids[:2] == ["7/000000", "7/000001"] and data.ids[-1] == "7/000229"
    assert all(np.array_equal(data.images[i], picture(i)) for i in range(230))
    assert data.classes == tuple(CLASSES) and data.labels[:3].tolist() == [0, 2, 0]
    assert data.captions[1] == ["a satellite image of a river"]
    assert data[5]["metadata"] == {"lon": 8.5, "month": 6}
    assert data.provenance == data[9]["provenance"] == "generated · mini-diffusionsat · seed 7"


def test_shards_have_the_documented_schema(tmp_path):
    datasets.write_shard(tmp_path / "part-00000.parquet", rows(range(3)))
    schema = pq.read_schema(tmp_path / "part-00000.parquet")
    assert schema.names == list(datasets.GENERATED_SCHEMA)
    for name, (kind, nullable, _) in datasets.GENERATED_SCHEMA.items():
        assert str(schema.field(name).type) == kind and schema.field(name).nullable == nullable


def test_a_shard_appears_only_when_it_is_complete(tmp_path):
    with pytest.raises((KeyError, ValueError, TypeError)):
        datasets.write_shard(tmp_path / "part-00000.parquet", [{"index": 0, "image": "no picture"}])
    assert list(tmp_path.glob("*.parquet")) == []


def test_png_bytes_unlabelled_images_and_several_runs(tmp_path):
    unlabelled = [{**row, "image": png(row["image"])} for row in rows(range(4), label=None, metadata=None)]
    datasets.write_shard(tmp_path / "a.parquet", unlabelled)
    datasets.write_shard(tmp_path / "b.parquet", rows(range(4), seed=8, label=None))
    data = datasets.load(tmp_path)
    assert set(data.labels) == {-1} and data.metadata[0] is None and data.metadata[4]["lon"] == 8.5
    assert data.provenance == "generated · 2 runs" and data[0]["provenance"].endswith("seed 7")
    assert np.array_equal(data.images[2], picture(2))


def test_without_class_names_they_come_from_the_labels(tmp_path):
    datasets.write_shard(tmp_path / "a.parquet", rows(range(4)))
    assert datasets.load(tmp_path).classes == ("Forest", "River")


def test_a_generated_set_is_for_training_only(tmp_path):
    datasets.write_shard(tmp_path / "a.parquet", rows(range(4)))
    with pytest.raises(ValueError, match="no split 'test', only train"):
        datasets.load(tmp_path, "test")


def test_a_run_that_was_generated_again_is_read_again(tmp_path):
    datasets.write_shard(tmp_path / "a.parquet", rows(range(4)))
    assert np.array_equal(datasets.load(tmp_path).images[0], picture(0))
    datasets.write_shard(tmp_path / "a.parquet", [{**row, "image": picture(99)} for row in rows(range(4))])
    assert np.array_equal(datasets.load(tmp_path).images[0], picture(99))


def test_a_half_written_shard_is_named(tmp_path):
    datasets.write_shard(tmp_path / "a.parquet", rows(range(4)))
    content = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"a\.parquet is not a complete Parquet file"):
        datasets.load(tmp_path)


def test_labels_outside_the_classes_and_missing_columns(tmp_path):
    datasets.write_shard(tmp_path / "a.parquet", rows(range(2), label="Moon"), classes=CLASSES)
    with pytest.raises(ValueError, match="label 'Moon' is not among the set's classes"):
        datasets.load(tmp_path)
    table = pq.read_table(tmp_path / "a.parquet").drop_columns(["prompt"])
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="lacks prompt; it has index, image"):
        datasets.load(tmp_path)


def test_images_in_parquet_of_another_program(tmp_path):
    """As the Hugging Face Hub converts a folder of images."""
    stored = {"image": [{"bytes": b"", "path": "0.png"}], "label": [0]}
    pq.write_table(pa.table(stored), tmp_path / "train-00000-of-00001.parquet")
    with pytest.raises(ValueError, match=r"it has image, label\. Images in Parquet are read as") as caught:
        datasets.load(tmp_path)
    assert "\n" not in str(caught.value)
