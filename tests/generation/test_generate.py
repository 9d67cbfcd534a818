"""Generated folders: the images are those of ``sample``, and a run is completed, extended or refused."""

import io
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow.parquet as pq
import pytest
from filelock import FileLock
from PIL import Image

from rs_course import checkpoints, cli, datasets
from rs_course.generation import generate

PROMPTS = [
    {"prompt": "a river", "label": "River", "month": 7},
    {"prompt": "a lake", "label": "Lake"},
    {"prompt": "a field", "label": "Field", "lon": 8.4},
]
FAST = {"steps": 2, "shard_size": 4, "batch_size": 4}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RS_COURSE_CACHE", str(tmp_path / "cache"))


def pixels(data) -> np.ndarray:
    return np.asarray(data.images)


def stamps(folder) -> dict:
    return {file.name: file.stat().st_mtime_ns for file in folder.glob("*.parquet")}


def rows(folder) -> dict:
    """Every stored row by (seed, index); fails where one is there twice."""
    table = [row for file in folder.glob("*.parquet") for row in pq.read_table(file).to_pylist()]
    by_place = {(row["seed"], row["index"]): row for row in table}
    assert len(by_place) == len(table)
    return by_place


def test_the_images_are_those_of_sample_with_all_that_made_them(generator, tmp_path):
    out = tmp_path / "set"
    data = generate(PROMPTS, checkpoint=generator, out=out, per_prompt=3, seed=[5, 2], guidance=3.0, **FAST)
    assert len(data) == 18 and data.ids[0] == "2/000000" and data.ids[-1] == "5/000008"
    assert data.classes == ("Field", "Lake", "River") and data.labels[:4].tolist() == [2, 1, 0, 2]
    assert data[1]["metadata"] is None and data[2]["metadata"] == {"lon": 8.4}
    assert data[9]["provenance"] == "generated · tiny · seed 5"

    loaded = checkpoints.load(generator)
    texts, months = [row["prompt"] for row in PROMPTS] * 3, [{"month": 7}, {}, {"lon": 8.4}] * 3
    for seed, stored in ((2, pixels(data)[:9]), (5, pixels(data)[9:])):
        images = loaded.sample(texts, metadata=months, seed=seed, steps=2, guidance=3.0)
        difference = stored.astype(int) - (images * 255).round().permute(0, 2, 3, 1).int().numpy()
        assert abs(difference).max() <= 1 and (difference != 0).mean() < 1e-3

    stored = rows(out)
    assert sorted(stored) == [(seed, i) for seed in (2, 5) for i in range(9)]
    row = stored[2, 4]
    assert row["checkpoint"] == "tiny" and row["checkpoint_sha256"] == loaded.card.hash
    assert json.loads(row["settings"]) == {
        "sampler": "DDIMScheduler",
        "steps": 2,
        "eta": 0.0,
        "guidance": 3.0,
        "guidance_interval": [0.0, 1.0],
        "negative_prompt": "",
        "size": [16, 16],
        "dtype": "float32",
    }
    assert Image.open(io.BytesIO(row["image"])).size == (16, 16)


def test_hugging_face_datasets_opens_it(generator, tmp_path):
    library = pytest.importorskip("datasets")
    generate(PROMPTS, checkpoint=generator, out=tmp_path / "set", per_prompt=2, **FAST)
    opened = library.load_dataset("parquet", data_dir=str(tmp_path / "set"), cache_dir=str(tmp_path / "hf"))
    assert sorted(opened["train"]["index"]) == list(range(6))


def test_a_folder_may_be_called_as_a_data_set_is(generator, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = generate(PROMPTS, checkpoint=generator, out="simulated", **FAST)
    assert len(made) == 3 and set(made.classes) == {"River", "Lake", "Field"}


def test_what_is_missing_is_made_and_nothing_else(generator, tmp_path):
    ask = {"checkpoint": generator, "out": tmp_path / "set", "per_prompt": 4, **FAST}
    whole = pixels(generate(PROMPTS, **ask)).copy()
    before = stamps(tmp_path / "set")
    absent, damaged, kept = sorted(before)
    (tmp_path / "set" / absent).unlink()
    os.truncate(tmp_path / "set" / damaged, 1000)
    (tmp_path / "set" / f".{kept}.4711").write_bytes(b"half")  # as a killed run leaves it
    assert np.array_equal(pixels(generate(PROMPTS, **ask)), whole)
    after = stamps(tmp_path / "set")
    assert after[kept] == before[kept] and after.keys() == before.keys()
    assert not list((tmp_path / "set").glob(".*.parquet.*"))
    generate(PROMPTS, **ask)
    assert stamps(tmp_path / "set") == after


def test_more_images_and_more_seeds_join_a_folder(generator, tmp_path):
    ask = {"checkpoint": generator, "out": tmp_path / "set", **FAST}
    few = pixels(generate(PROMPTS, per_prompt=2, **ask)).copy()
    more = generate(PROMPTS, per_prompt=4, seed=[0, 1], **ask)
    assert len(more) == 24 and sorted(rows(tmp_path / "set")) == [(s, i) for s in (0, 1) for i in range(12)]
    assert np.abs(pixels(more)[:6].astype(int) - few).max() <= 1
    before = stamps(tmp_path / "set")
    fewer = generate(PROMPTS, per_prompt=2, seed=1, **ask)
    assert fewer.ids == [f"1/{i:06d}" for i in range(6)] and stamps(tmp_path / "set") == before


CHANGES = {
    "with steps 2 instead of 3": {"steps": 3},
    "with guidance 2.0 instead of 4.0": {"guidance": 4.0},
    "with sampler 'DDIMScheduler' instead of 'euler'": {"sampler": "euler"},
    "with dtype 'float32' instead of 'bfloat16'": {"dtype": "bfloat16"},
    "with other prompts": {"prompts": ["a road"]},
    "with shard_size 4 instead of 5": {"shard_size": 5},
}


def test_another_run_is_refused_in_one_sentence(generator, tmp_path):
    ask = {"prompts": PROMPTS, "checkpoint": generator, "out": tmp_path / "set", **FAST}
    generate(**ask)
    before = stamps(tmp_path / "set")
    for message, change in CHANGES.items():
        with pytest.raises(ValueError, match=f"holds another run .{message}.: choose another") as caught:
            generate(**{**ask, **change})
        assert "\n" not in str(caught.value)
    assert stamps(tmp_path / "set") == before


def test_folders_that_are_not_free(generator, tmp_path):
    datasets.write_shard(tmp_path / "foreign" / "part-00000.parquet", [])
    with pytest.raises(ValueError, match="no run of generate wrote"):
        generate(PROMPTS, checkpoint=generator, out=tmp_path / "foreign", **FAST)
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileExistsError, match="is a file"):
        generate(PROMPTS, checkpoint=generator, out=tmp_path / "file", **FAST)
    (tmp_path / "busy").mkdir()
    with (
        FileLock(tmp_path / "busy" / ".lock"),
        pytest.raises(RuntimeError, match="Another run is writing to"),
    ):
        generate(PROMPTS, checkpoint=generator, out=tmp_path / "busy", **FAST)


MISTAKES = {
    "There is no checkpoint 'mini-x'": {"checkpoint": "mini-x"},
    "takes no 'stepz'": {"stepz": 3},
    "steps is 0": {"steps": 0},
    "no sampler 'dimm'": {"sampler": "dimm"},
    "month is 13": {"prompts": ["a"] * 5 + [{"prompt": "b", "month": 13}]},
    "per_prompt is 0": {"per_prompt": 0},
    "seed is -1": {"seed": -1},
    "batch_size is 0": {"batch_size": 0},
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes_are_named_before_the_first_image(generator, tmp_path, message):
    ask = {"prompts": PROMPTS, "checkpoint": generator, "out": tmp_path / "set", **FAST}
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=message) as caught:
        generate(**{**ask, **MISTAKES[message]})
    assert "\n" not in str(caught.value) and not list(tmp_path.rglob("*.parquet"))


def test_a_prompt_that_is_cut_is_said_once(generator, tmp_path):
    with pytest.warns(UserWarning, match=r"it does not see 'sea'") as caught:
        generate(["a" * 75 + "sea"], checkpoint=generator, out=tmp_path / "set", per_prompt=6, **FAST)
    assert len(caught) == 1


@pytest.mark.slow
def test_killed_with_9_and_run_again(generator, tmp_path, capsys):
    """Nothing is lost, nothing is there twice, and the finished shards stay as they are."""
    (tmp_path / "prompts.txt").write_text("a river\na lake\na field\n")
    out = tmp_path / "set"
    command = ["generate", str(tmp_path / "prompts.txt"), "--checkpoint", str(generator), "--out", str(out)]
    command += ["--per-prompt", "16", "--steps", "20", "--shard-size", "4", "--seed", "3"]
    run = subprocess.Popen([sys.executable, "-m", "rs_course.cli", *command], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while len(stamps(out)) < 2 and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(run.pid, signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL  # it was still at work
    finished = stamps(out)
    assert 2 <= len(finished) < 12

    assert cli.main(command) == 0
    printed = capsys.readouterr()
    assert "48 images lie in" in printed.out and "48/48 images" in printed.err
    assert finished.items() <= stamps(out).items()
    stored = rows(out)
    assert sorted(stored) == [(3, i) for i in range(48)]
    fresh = generate(
        tmp_path / "prompts.txt", checkpoint=generator, out=tmp_path / "fresh", per_prompt=16, steps=20,
        shard_size=4, seed=3,
    )  # fmt: skip
    assert len(fresh) == 48 and rows(tmp_path / "fresh") == stored
