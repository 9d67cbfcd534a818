"""Sources of prompts, and what is said about a faulty one."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rs_course.datasets import class_prompt
from rs_course.generation import SampleSpec, read_prompts

ROWS = [
    SampleSpec("a river in summer", "River", {"lon": 8.4, "month": 7}),
    SampleSpec("a lake, frozen", "SeaLake", None),
]


def test_the_classes_of_a_collection():
    prompts, classes = read_prompts("classes:eurosat")
    assert len(prompts) == 10 and classes == [prompt.label for prompt in prompts] == sorted(classes)
    assert prompts[8] == SampleSpec(class_prompt("River", "eurosat"), "River")


def test_captions_of_a_data_set(tmp_path, monkeypatch):
    monkeypatch.setenv("RS_COURSE_CACHE", str(tmp_path / "cache"))
    from PIL import Image

    (tmp_path / "set").mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (4, 4)).save(tmp_path / "set" / f"{name}.png")
    lines = [
        {
            "file": "a.png",
            "label": "River",
            "captions": ["a river"],
            "month": 7,
            "sensor": "S2",
            "split": "train",
        },
        {"file": "b.png", "label": "Forest", "captions": ["a forest", "trees"], "split": "train"},
    ]
    (tmp_path / "set" / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    prompts, classes = read_prompts(f"captions:{tmp_path / 'set'}")
    assert classes == ["Forest", "River"]
    assert {prompt.text: prompt.metadata for prompt in prompts} == {"a river": {"month": 7}, "a forest": None}


def test_every_kind_of_file_says_the_same(tmp_path):
    table = 'prompt,label,lon,month\na river in summer,River,8.4,7\n"a lake, frozen",SeaLake,,\n'
    (tmp_path / "p.csv").write_text(table, encoding="utf-8-sig")
    objects = [
        {"prompt": "a river in summer", "label": "River", "metadata": {"lon": 8.4}, "month": 7},
        {"prompt": "a lake, frozen", "label": "SeaLake"},
    ]
    (tmp_path / "p.jsonl").write_text("\n\n".join(map(json.dumps, objects)))
    columns = {key: [row.get(key) for row in objects] for key in ("prompt", "label", "month")}
    pq.write_table(pa.table({**columns, "lon": [8.4, None]}), tmp_path / "p.parquet")
    for source in (tmp_path / "p.csv", str(tmp_path / "p.jsonl"), tmp_path / "p.parquet", objects, ROWS):
        assert read_prompts(source) == (ROWS, ["River", "SeaLake"])
    (tmp_path / "p.txt").write_text("a river in summer\n\n  a lake, frozen \n")
    texts = [SampleSpec(row.text) for row in ROWS]
    assert read_prompts(tmp_path / "p.txt") == (texts, None)
    assert read_prompts([row.text for row in ROWS]) == (texts, None)


MISTAKES = {
    "There is no prompt file": "nowhere.txt",
    "no prompt table for 'moon'": "classes:moon",
    "holds no prompt": [],
    "is a int": [3],
    "has no text under 'prompt'": [{"label": "River"}],
    "entry 2 has the column 'latt'; the columns are prompt, label": ["a", {"prompt": "b", "latt": 3}],
    "month is 'July', not a number": [{"prompt": "a", "month": "July"}],
    "metadata of prompts, entry 1 is not JSON": [{"prompt": "a", "metadata": "{lon: 3"}],
    "metadata is an object": [{"prompt": "a", "metadata": [3, 4]}],
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes_are_named(message):
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=message) as caught:
        read_prompts(MISTAKES[message])
    assert "\n" not in str(caught.value)


def test_files_that_are_something_else(tmp_path):
    (tmp_path / "p.jsonl").write_text('{"prompt": "a"}\n{"prompt": ')
    with pytest.raises(ValueError, match=r"p\.jsonl, line 2 is not JSON"):
        read_prompts(tmp_path / "p.jsonl")
    (tmp_path / "p.docx").write_text("a")
    with pytest.raises(ValueError, match=r"has the ending '\.docx'"):
        read_prompts(tmp_path / "p.docx")
    (tmp_path / "p.txt").write_bytes("ein Fluß".encode("latin-1"))
    with pytest.raises(ValueError, match="is not UTF-8"):
        read_prompts(tmp_path / "p.txt")


def test_fields_in_an_object_are_numbers_like_those_in_columns(tmp_path):
    file = tmp_path / "p.jsonl"
    for stated, expected in (({"month": "7.0", "lon": 8}, {"month": 7, "lon": 8}), ({"month": None}, None)):
        file.write_text(json.dumps({"prompt": "a", "metadata": stated}))
        metadata = read_prompts(file)[0][0].metadata
        assert {key: value for key, value in (metadata or {}).items() if value is not None} == (
            expected or {}
        )
    for wrong in ("July", 7.5, True):
        file.write_text(json.dumps({"prompt": "a", "metadata": {"month": wrong}}))
        with pytest.raises(ValueError, match=r"line 1: month is .*, not a (whole )?number"):
            read_prompts(file)
