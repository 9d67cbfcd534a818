"""Image folders: layouts, tables, splits, pixels, and what a broken folder answers."""

import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from pictures import picture, png
from PIL import Image
from torch.utils.data import DataLoader

from rs_course import datasets
from rs_course.datasets import decoding


def test_a_record_has_the_documented_fields(described_folder):
    data = datasets.load(described_folder, "train")
    record = data[3]
    assert sorted(record) == ["captions", "id", "image", "label", "metadata", "provenance", "source"]
    name, number = record["id"].removesuffix(".png").split("/")[1].split("_")
    expected = picture(100 * ("Forest", "River").index(name) + int(number))
    assert record["image"].dtype == torch.float32
    assert torch.equal((record["image"] * 255).round().byte(), torch.from_numpy(expected).permute(2, 0, 1))
    assert data.classes[record["label"]] == name
    assert record["captions"] == [f"this is {record['id']}", "a tile"]
    assert record["metadata"]["lat"] == 47.25 and record["metadata"]["event"].startswith("flood-")
    assert record["provenance"] == data.provenance == "real · set · train"


def test_official_splits_are_honoured(described_folder):
    train, test = (datasets.load(described_folder, split) for split in ("train", "test"))
    files = sorted(train.ids + test.ids)
    assert test.ids == files[::5]
    assert not datasets.overlap(train, test)
    assert len(datasets.load(described_folder, "all")) == 20


def test_files_outside_the_official_table_do_not_belong(described_folder):
    (described_folder / "River" / "extra.png").write_bytes(png(picture(1)))
    lines = (described_folder / "splits.csv").read_text().splitlines()
    (described_folder / "splits.csv").write_text("\n".join(lines[:-1]))  # its captions are still there
    assert len(datasets.load(described_folder, "all")) == 19


def test_pixels_are_those_that_pillow_decodes(described_folder):
    data = datasets.load(described_folder, "all")
    assert isinstance(data.images, np.memmap) and data.images.dtype == np.uint8
    for name, pixels in zip(data.ids, data.images, strict=True):
        assert np.array_equal(pixels, np.asarray(Image.open(described_folder / name)))
    assert data.labels.dtype == np.int64
    assert [data.classes[label] for label in data.labels] == [name.split("/")[0] for name in data.ids]


def test_splits_without_a_table_are_stratified_and_do_not_depend_on_the_seed(image_folder):
    parts = {split: datasets.load(image_folder, split, seed=4) for split in ("train", "val", "test")}
    assert [np.bincount(part.labels).tolist() for part in parts.values()] == [[6, 6], [2, 2], [2, 2]]
    assert [name for part in parts.values() for name in part.ids] == datasets.load(image_folder, "all").ids
    assert datasets.load(image_folder, "val", seed=0).ids == parts["val"].ids


def test_split_folders_and_an_enclosing_folder(image_folder, tmp_path):
    outer = tmp_path / "outer" / "archive-name"
    for split, numbers in {"train": range(6), "valid": range(6, 8), "test": range(8, 10)}.items():
        for name in ("Forest", "River"):
            (outer / split / name).mkdir(parents=True)
            for i in numbers:
                shutil.copy(image_folder / name / f"{name}_{i}.png", outer / split / name)
    assert [len(datasets.load(outer.parent, split)) for split in ("train", "val", "test")] == [12, 4, 4]
    assert datasets.load(outer.parent, "val").classes == ("Forest", "River")


def test_images_without_classes_are_unlabelled(tmp_path):
    for i in range(5):
        (tmp_path / "flat").mkdir(exist_ok=True)
        (tmp_path / "flat" / f"{i}.png").write_bytes(png(picture(i)))
    data = datasets.load(tmp_path / "flat", "all")
    assert data.classes == () and data.labels.tolist() == [-1] * 5 and data[0]["label"] == -1


def test_a_changed_file_is_decoded_again(image_folder):
    data = datasets.load(image_folder, "all")
    k = data.ids.index("Forest/Forest_0.png")
    before = data.images[k].copy()
    (image_folder / "Forest" / "Forest_0.png").write_bytes(png(picture(7777)))
    after = datasets.load(image_folder, "all").images[k]
    assert not np.array_equal(before, after) and np.array_equal(after, picture(7777))


def test_mixed_sizes_stay_lazy_or_are_resized_on_request(image_folder):
    large = picture(5, (24, 40))
    (image_folder / "River" / "River_3.png").write_bytes(png(large))
    data = datasets.load(image_folder, "all")
    shapes = {record["image"].shape for record in data}
    assert shapes == {(3, 16, 16), (3, 24, 40)}
    with pytest.raises(ValueError, match=r"differ in size.*image_size=256"):
        _ = data.images
    resized = datasets.load(image_folder, "all", image_size=16)
    assert resized.images.shape == (20, 16, 16, 3)
    expected = np.asarray(Image.fromarray(large).resize((16, 16), Image.Resampling.BICUBIC))
    assert np.array_equal(resized.images[resized.ids.index("River/River_3.png")], expected)


def test_grey_and_transparent_images_become_rgb(tmp_path):
    (tmp_path / "set" / "A").mkdir(parents=True)
    Image.fromarray(np.full((8, 8), 77, np.uint8)).save(tmp_path / "set" / "A" / "grey.png")
    Image.new("RGBA", (8, 8), (1, 2, 3, 255)).save(tmp_path / "set" / "A" / "clear.png")
    images = datasets.load(tmp_path / "set", "all").images
    assert images[:, 0, 0].tolist() == [[1, 2, 3], [77, 77, 77]]


def test_an_interrupted_decode_resumes_where_it_stopped(image_folder, monkeypatch):
    monkeypatch.setattr("rs_course.datasets.decoding._BATCH", 4)
    decoded = []

    def decode(data, name, size=None, stop_at=10):
        if len(decoded) >= stop_at:
            raise KeyboardInterrupt
        decoded.append(name)
        return original(data, name, size)

    original = decoding.decode
    monkeypatch.setattr(decoding, "decode", decode)
    data = datasets.load(image_folder, "all")
    with pytest.raises(KeyboardInterrupt):
        _ = data.images
    first = set(decoded[:8])  # two whole batches
    decoded.clear()
    monkeypatch.setattr(decoding, "decode", lambda *args: decode(*args, stop_at=100))
    images = datasets.load(image_folder, "all").images
    assert len(decoded) == 12 and not first & set(decoded)
    assert np.array_equal(images[data.ids.index("River/River_5.png")], picture(105))


def test_only_the_split_that_is_asked_for_is_decoded(described_folder, cache):
    _ = datasets.load(described_folder, "test").images
    (ready,) = cache.glob("decoded/*/ready.npy")
    assert np.load(ready).sum() == 4


def test_loading_twice_decodes_nothing(described_folder, monkeypatch):
    first = datasets.load(described_folder).images
    monkeypatch.setattr(decoding, "decode", None)
    again = datasets.load(described_folder)
    assert np.array_equal(again.images, first) and len(list(again)) == 16


def test_works_as_a_torch_data_set_with_worker_processes(described_folder):
    data = datasets.load(described_folder, "all")
    _ = data.images
    assert len(pickle.dumps(data)) < 20_000  # the pixels stay on disk
    loader = DataLoader(data, batch_size=8, num_workers=1, collate_fn=datasets.collate)
    batches = list(loader)
    assert torch.cat([batch["label"] for batch in batches]).tolist() == data.labels.tolist()
    pixels = torch.cat([batch["image"] for batch in batches]).mul(255).round().byte().permute(0, 2, 3, 1)
    assert np.array_equal(pixels.numpy(), data.images)
    assert batches[0]["captions"][0] == data.captions[0]


def test_writing_into_a_record_does_not_change_the_data(described_folder):
    data = datasets.load(described_folder)
    record = data[0]
    record["image"].zero_()
    record["captions"].append("mine")
    assert data[0]["image"].sum() > 0 and data[0]["captions"] == data.captions[0]
    with pytest.raises(ValueError, match="read-only"):
        data.images[0] = 0


def test_origin_is_the_first_word_of_the_badge(image_folder):
    assert datasets.load(image_folder, origin="generated").provenance == "generated · set · train"
    with pytest.raises(ValueError, match="use real, simulated or generated"):
        datasets.load(image_folder, origin="fake")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: shutil.rmtree(root / "Forest") or shutil.rmtree(root / "River"), "contains no images"),
        (lambda root: (root / "Lake").mkdir(), "class folder Lake of .* has no images"),
        (
            lambda root: (root / "River" / "River_2.png").write_bytes(b"GIF89a?"),
            "River_2.png cannot be read as an image .no known image format",
        ),
        (
            lambda root: (root / "River" / "River_2.png").write_bytes(
                (root / "River" / "River_2.png").read_bytes()[:200]
            ),
            "River_2.png cannot be read",
        ),
        (lambda root: Image.new("I;16", (16, 16)).save(root / "River" / "deep.png"), "deep.png has samples"),
        (lambda root: (root / "splits.csv").write_text("file,split\nRiver/no.png,train\n"), "River/no.png"),
        (
            lambda root: (root / "splits.csv").write_text("file,split\nRiver/River_0.png,holdout\n"),
            "unknown split 'holdout'",
        ),
        (
            lambda root: (root / "splits.csv").write_text("name,split\nx,train\n"),
            "names no image in the column",
        ),
        (
            lambda root: (root / "captions.jsonl").write_text("{broken\n"),
            "captions.jsonl, line 1 is not JSON",
        ),
    ],
    ids=["empty", "empty-class", "not-an-image", "cut-off", "16-bit", "missing", "split", "column", "json"],
)
def test_bad_folders_get_one_sentence(image_folder, damage, message):
    damage(image_folder)
    with pytest.raises(ValueError, match=message) as caught:
        _ = datasets.load(image_folder, "all").images
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"split": "holdout"}, ValueError, "Unknown split 'holdout': use train, val, test or all"),
        ({"size": 13}, ValueError, "size=13 is not possible: set has 12 records"),
        ({"size": -1}, ValueError, "size=-1 is not possible"),
        ({"image_size": 0}, ValueError, "image_size=0 is not possible: give a number of pixels"),
        ({"image_size": (8, 8, 3)}, ValueError, "give a number of pixels or .height, width."),
    ],
)
def test_bad_arguments_get_one_sentence(image_folder, arguments, error, message):
    with pytest.raises(error, match=message):
        datasets.load(image_folder, **arguments)


def test_a_missing_split_says_how_to_get_one(described_folder):
    with pytest.raises(ValueError, match=r"no split 'val', only train and test.*stratified_split"):
        datasets.load(described_folder, "val")


def test_a_link_that_leads_back_up_ends(image_folder):
    (image_folder / "River" / "again").symlink_to(image_folder)
    assert len(datasets.load(image_folder, "all")) == 20


def test_a_local_folder_named_like_a_data_set_that_was_not_fetched(image_folder, monkeypatch):
    monkeypatch.chdir(image_folder.parent)
    image_folder.rename("rsicd")
    assert datasets.load("rsicd", "all").title == "rsicd"


def test_importing_stays_light():
    script = "import sys, rs_course.datasets; print({'torch', 'pandas', 'pyarrow'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "set()\n"


def test_unknown_names_list_what_there_is():
    with pytest.raises(FileNotFoundError, match=r"no data set or path 'eurosatt': use simulated, eurosat"):
        datasets.load("eurosatt")
