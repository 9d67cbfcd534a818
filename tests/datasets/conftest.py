"""Small image collections made by code, and a cache of their own."""

import csv
import json

import pytest
from pictures import picture, png


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Every test decodes into an empty cache."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("RS_COURSE_CACHE", str(folder))
    return folder


@pytest.fixture
def image_folder(tmp_path):
    """Two classes of ten PNGs below ``set/``; picture i of class c is ``picture(100 * c + i)``."""
    root = tmp_path / "set"
    for c, name in enumerate(["Forest", "River"]):
        (root / name).mkdir(parents=True)
        for i in range(10):
            (root / name / f"{name}_{i}.png").write_bytes(png(picture(100 * c + i)))
    return root


@pytest.fixture
def described_folder(image_folder):
    """The same with official splits, captions and metadata beside the images."""
    files = sorted(path.relative_to(image_folder).as_posix() for path in image_folder.rglob("*.png"))
    with open(image_folder / "splits.csv", "w", encoding="utf-8", newline="") as table:
        rows = csv.writer(table)
        rows.writerow(["file", "label", "split", "lon", "lat", "event"])
        for k, file in enumerate(files):
            split = "test" if k % 5 == 0 else "train"
            rows.writerow([file, file.split("/")[0], split, 8.5 + k // 2, 47.25, f"flood-{k // 4}"])
    with open(image_folder / "captions.jsonl", "w", encoding="utf-8") as lines:
        for file in files:
            lines.write(json.dumps({"file": file, "captions": [f"this is {file}", "a tile"]}) + "\n")
    return image_folder
