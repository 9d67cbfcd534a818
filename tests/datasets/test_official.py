"""Official archives in their own layouts: split lists, numbered captions, classes in file names."""

import json
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pictures import picture, png
from PIL import Image

from rs_course import registry
from rs_course.datasets import loading


def files_of(store, split):
    return [row["id"] for row in store.index["rows"] if row["split"] == split]


def test_eurosat_zip_with_its_split_lists(tmp_path):
    names = [f"{label}_{i}.jpg" for label in ("AnnualCrop", "SeaLake") for i in range(1, 6)]
    with zipfile.ZipFile(tmp_path / "EuroSAT.zip", "w") as archive:
        for k, name in enumerate(names):
            archive.writestr(f"2750/{name.split('_')[0]}/{name}", png(picture(k)))
    lists = {"train": names[1:4] + names[6:9], "val": [names[4], names[9]], "test": [names[0]]}
    for split, listed in lists.items():
        (tmp_path / f"eurosat-{split}.txt").write_text("\n".join(listed) + "\n")
    files = [tmp_path / file.path for file in registry.get("eurosat").files]
    store = loading.open_store(registry.get("eurosat"), files, None)
    assert store.index["classes"] == ["AnnualCrop", "SeaLake"]
    for split, listed in lists.items():
        assert [name.split("/")[1] for name in files_of(store, split)] == listed
    assert names[5] not in json.dumps(store.index)  # in no list, hence not in the set
    assert np.array_equal(store.one(0), picture(1))


@pytest.mark.parametrize("odd_size", [(16, 16), (14, 15)])
def test_ucm_images_meet_their_numbered_captions(tmp_path, odd_size):
    buffer = tmp_path / "tile.tif"
    with zipfile.ZipFile(tmp_path / "UCMerced_LandUse.zip", "w") as archive:
        for c, label in enumerate(["agricultural", "airplane", "beach"]):
            for i in range(4):
                Image.fromarray(picture(10 * c + i, odd_size if i == 2 else (16, 16))).save(buffer)
                archive.writestr(f"UCMerced_LandUse/Images/{label}/{label}{i:02}.tif", buffer.read_bytes())
        archive.writestr("UCMerced_LandUse/readme.txt", "text")
    images = [
        {
            "filename": f"{n}.tif",
            "split": "train" if n % 2 else "test",
            "sentences": [{"raw": f"image {n} ."}, {"raw": "a tile ."}],
        }
        for n in range(1, 301)
    ]
    (tmp_path / "dataset_ucm_modified.json").write_text(json.dumps({"images": images}))
    files = [tmp_path / file.path for file in registry.get("ucm-captions").files]
    store = loading.open_store(registry.get("ucm-captions"), files, None)
    rows = {row["id"]: row for row in store.index["rows"]}
    assert len(rows) == 12 and rows["airplane/airplane03.tif"]["captions"] == ["image 104 .", "a tile ."]
    assert rows["beach/beach00.tif"]["split"] == "train" and rows["beach/beach01.tif"]["split"] == "test"
    assert store.image_size == [256, 256]  # a few originals are not square: the registry resizes all


def test_rsicd_parquet(tmp_path):
    names = ["airport_1.jpg", "baseballfield_12.jpg", "00110.jpg"]
    for k, split in enumerate(("train", "valid", "test")):
        table = pa.table(
            {
                "filename": [f"rsicd_images/{name}" for name in names],
                "captions": [[f"one {split} .", " two . "]] * 3,
                "image": [{"bytes": png(picture(10 * k + i)), "path": None} for i in range(3)],
            }
        )
        pq.write_table(table, tmp_path / f"{split}-00000-of-00001.parquet")
    files = [tmp_path / file.path for file in registry.get("rsicd").files]
    store = loading.open_store(registry.get("rsicd"), files, None)
    assert store.index["classes"] == ["airport", "baseballfield"]
    rows = [row for row in store.index["rows"] if row["split"] == "val"]
    assert [row["label"] for row in rows] == [-1, 0, 1] and rows[0]["captions"] == ["one valid .", "two ."]
    where = [row["file"] for row in store.index["rows"]].index("test-00000-of-00001.parquet#1")
    assert np.array_equal(store.one(where), picture(21))
