"""Layouts and tables as other programs write them: understood, or refused where two readings are left."""

import json
import zipfile

import numpy as np
import pytest
from pictures import picture, png

from rs_course import datasets


def fill(folder, classes=("Forest", "River"), n=4):
    for c, name in enumerate(classes):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            (folder / name / f"{name}_{i}.png").write_bytes(png(picture(100 * c + i)))
    return folder


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [("TRAIN", "Val", "Test"), ("training", "validation", "Testing"), ("Train", "dev", "TEST")],
)
@pytest.mark.parametrize("packed", [False, True])
def test_split_folders_are_known_in_any_case(tmp_path, packed, train, val, test):
    root = tmp_path / "set"
    for name in (train, val, test):
        fill(root / name)
    (root / "preview.png").write_bytes(png(picture(0)))
    source = zipped(root) if packed else root
    assert datasets.load(source).classes == ("Forest", "River")
    assert [len(datasets.load(source, split)) for split in ("train", "val", "test", "all")] == [8, 8, 8, 24]


def zipped(root):
    with zipfile.ZipFile(root.with_suffix(".zip"), "w") as archive:
        for file in sorted(root.rglob("*")):
            archive.write(file, file.relative_to(root.parent).as_posix())
    return root.with_suffix(".zip")


def test_splits_inside_the_classes(tmp_path):
    for name in ("Forest", "River"):
        fill(tmp_path / "set" / name, ("Train", "Test"))
    data = datasets.load(tmp_path / "set", "test")
    assert data.classes == ("Forest", "River") and len(data) == 8
    assert all("Test/" not in name for name in data.ids)


def test_split_folders_beside_others_are_no_classes(tmp_path):
    for name in ("Train", "Test", "unlabelled"):
        fill(tmp_path / "set" / name)
    with pytest.raises(ValueError, match="split folders Test and Train and beside them unlabelled"):
        datasets.load(tmp_path / "set")


@pytest.mark.parametrize(
    "names",
    [("train_images", "test_images"), ("seg_train", "seg_test"), ("train2017", "val2017"), ("Train", "Eval")],
)
@pytest.mark.parametrize("inside", [False, True])
def test_folders_that_look_like_splits_are_no_classes(tmp_path, names, inside):
    root = tmp_path / "set"
    for name in ("Forest", "River") if inside else names:
        fill(root / name, names if inside else ("Forest", "River"))
    with pytest.raises(ValueError, match="look like splits and not like classes: call them train, val, test"):
        datasets.load(root, "all")


@pytest.mark.parametrize("name", ["EuroSAT.zip", "NWPU-RESISC45.RAR"])
def test_a_folder_that_holds_the_archive_alone(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ValueError, match=rf"contains no images, but {name}: give that archive"):
        datasets.load(tmp_path)


def test_a_class_may_be_called_train(tmp_path):
    assert datasets.load(fill(tmp_path / "b", ("train", "train_station")), "all").classes[0] == "train"
    assert datasets.load(fill(tmp_path / "set", ("plane", "train")), "all").classes == ("plane", "train")


HELPERS = [
    "__MACOSX",
    ".ipynb_checkpoints",
    "@eaDir",
    "$RECYCLE.BIN",
    "__pycache__",
    "System Volume Information",
]


@pytest.mark.parametrize("helper", HELPERS)
@pytest.mark.parametrize("packed", [False, True])
def test_folders_of_the_system_are_no_classes(tmp_path, helper, packed):
    root = fill(tmp_path / "set")
    fill(root, (helper,))
    (root / "River" / "Thumbs.db").write_bytes(b"x")
    (root / "River" / "._River_0.png").write_bytes(b"AppleDouble")
    (root / "desktop.ini").write_bytes(b"x")
    data = datasets.load(zipped(root) if packed else root, "all")
    assert data.classes == ("Forest", "River") and len(data) == 8


def test_images_and_masks_are_no_classes(tmp_path):
    root = fill(tmp_path / "set", ("images", "masks"))
    with pytest.raises(ValueError, match="images and masks side by side"):
        datasets.load(root)
    assert datasets.load(fill(tmp_path / "one", ("Images",)), "all").classes == ()


ROWS = [
    {"file_name": f"{i}.png", "label": ("Forest", "River")[i % 2], "caption": "a, “tile”"} for i in range(4)
]


def as_csv(delimiter=",", end="\n", header=("file_name", "label", "caption")):
    lines = [delimiter.join(header)]
    lines += [delimiter.join([row["file_name"], row["label"], f'"{row["caption"]}"']) for row in ROWS]
    return end.join(lines) + end


def as_parquet(folder):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(ROWS), folder / "metadata.parquet")


TABLES = {
    "jsonl": lambda folder: (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, ROWS))),
    "csv": lambda folder: (folder / "metadata.csv").write_text(as_csv()),
    "semicolons": lambda folder: (folder / "metadata.csv").write_text(as_csv(";")),
    "tabs": lambda folder: (folder / "metadata.csv").write_text(as_csv("\t")),
    "crlf": lambda folder: (folder / "metadata.csv").write_bytes(as_csv(end="\r\n").encode()),
    "bom": lambda folder: (folder / "metadata.csv").write_text(as_csv(), encoding="utf-8-sig"),
    "utf-16": lambda folder: (folder / "metadata.csv").write_text(as_csv(), encoding="utf-16"),
    "capitals": lambda folder: (folder / "Metadata.csv").write_text(
        as_csv(header=("File_Name", " Label", "caption"))
    ),
    "parquet": as_parquet,
}


@pytest.mark.parametrize("write", TABLES.values(), ids=TABLES)
@pytest.mark.parametrize("packed", [False, True])
def test_a_table_in_each_split_folder(tmp_path, write, packed):
    root = tmp_path / "set"
    for split in ("train", "test"):
        (root / split).mkdir(parents=True)
        for i in range(4):
            (root / split / f"{i}.png").write_bytes(png(picture(i)))
        write(root / split)
    data = datasets.load(zipped(root) if packed else root, "test")
    assert data.classes == ("Forest", "River") and list(data.labels) == [0, 0, 1, 1]
    assert data.captions == [["a, “tile”"]] * 4


def test_a_parquet_table_at_the_root(tmp_path):
    root = tmp_path / "set"
    root.mkdir()
    for i in range(4):
        (root / f"{i}.png").write_bytes(png(picture(i)))
    as_parquet(root)
    assert datasets.load(root, "all").classes == ("Forest", "River")


@pytest.mark.parametrize("name", ["labels.csv", "train.jsonl", "annotations.xlsx"])
def test_a_table_that_is_not_read_is_mentioned(tmp_path, name):
    root = tmp_path / "set"
    root.mkdir()
    (root / "1.png").write_bytes(png(picture(0)))
    (root / name).write_text("id,kind\n1,x\n")
    with pytest.raises(ValueError, match=rf"{name} is not read; tables are called splits.csv"):
        datasets.load(root)
    (fill(tmp_path / "other") / name).write_text("id,kind\n1,x\n")
    with pytest.warns(UserWarning, match="is not read"):
        assert datasets.load(tmp_path / "other", "all").classes == ("Forest", "River")


def table(root, text, name="metadata.csv"):
    root.mkdir(parents=True, exist_ok=True)
    for i in range(3):
        (root / f"{i}.png").write_bytes(png(picture(i)))
    (root / name).write_text(text)
    return root


def test_an_empty_label_is_none(tmp_path):
    data = datasets.load(table(tmp_path / "set", "file,label\n0.png,River\n1.png,\n2.png, \n"), "all")
    assert data.classes == ("River",) and sorted(data.labels) == [-1, -1, 0] and len(data) == 3
    lines = [
        '{"file": "0.png", "label": 3}',
        '{"file": "1.png", "label": null}',
        '{"file": "2.png", "label": ""}',
    ]
    data = datasets.load(table(tmp_path / "b", "\n".join(lines), "metadata.jsonl"), "all")
    assert data.classes == ("3",) and sorted(data.labels) == [-1, -1, 0]


def test_cells_keep_their_line_breaks_and_names_their_zeros(tmp_path):
    rows = ['.\\0.png,"a river\nand a road",007,7.0,nan', "./1.png,x,1_0,7,", "2.png,y,z,7,1e-1"]
    text = "\n".join(["file,caption,event,month,cloud", *rows])
    data = datasets.load(table(tmp_path / "set", text), "all")
    found = dict(zip(data.ids, zip(data.captions, data.metadata, strict=True), strict=True))
    assert found["0.png"] == (["a river\nand a road"], {"event": "007", "month": 7.0, "cloud": None})
    assert found["1.png"][1]["event"] == "1_0" and found["2.png"][1]["cloud"] == 0.1


MISTAKES = {
    "file,label\n0.png,River,x\n": "line 2 has 3 cells where the first line has 2",
    "file,label\n0.png\n": "line 2 has 1 cells",
    'file,label\n0.png,"River\n': "no sound CSV",
    "file,label,file\n0.png,a,b\n": "column 'file' twice",
    "label\nRiver\n": "names no image",
    "x,y\n1,2\n": "none of the columns",
    "file,label\n0.png,River\n": "no row|none for",
    "file,split\n0.png,holdout\n": "unknown split 'holdout'",
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.items())
def test_tables_with_mistakes_are_refused(tmp_path, text, message):
    root = table(tmp_path / "set" / "images", text.replace("0.png", "images/0.png"), "x.txt").parent
    (root / "metadata.csv").write_text(text.replace("0.png", "images/0.png"))
    with pytest.raises(ValueError, match=message) as caught:
        datasets.load(root)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "row",
    [
        "[1]",
        "3",
        '{"file": 3}',
        '{"file": "0.png", "label": [1]}',
        '{"file": "0.png", "captions": {"a": 1}}',
        "[" * 9999,
    ],
)
def test_lines_that_are_no_rows_are_refused(tmp_path, row):
    with pytest.raises(ValueError, match=r"line 1"):
        datasets.load(table(tmp_path / "set", row, "metadata.jsonl"))


def test_image_size_may_be_a_number_of_numpy(tmp_path):
    root = fill(tmp_path / "set")
    for size in (np.int64(8), np.array([8, 8]), [np.int32(8), 8]):
        assert datasets.load(root, "all", image_size=size).images.shape[1:3] == (8, 8)
    for size in (8.5, "8", (8, 8, 8), (8.0, 8)):
        with pytest.raises(ValueError, match="not possible"):
            datasets.load(root, "all", image_size=size)
