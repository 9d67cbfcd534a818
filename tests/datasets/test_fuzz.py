"""Whatever a table, an archive or a line of metadata holds: it is read, or one sentence says why not."""

import io
import json
import tarfile
import tempfile
import zipfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st
from pictures import picture, png

from rs_course.checkpoints.prompts import CRSDIFF, DIFFUSIONSAT, FIELDS, metadata_rows, normalize_metadata
from rs_course.datasets import index
from rs_course.datasets.containers import open_container
from rs_course.datasets.decoding import decode
from rs_course.generation import read_prompts

MANY = settings(max_examples=200, deadline=None, derandomize=True)
TILE = png(picture(0, (4, 4)))


def one_sentence(call, *also):
    """What the call returns, or ``None`` where it refuses in one line."""
    try:
        return call()
    except (ValueError, *also) as error:
        assert str(error) and "\n" not in str(error) and len(str(error)) < 600
        return None


cells = st.sampled_from(
    [
        "file",
        "file_name",
        "label",
        "split",
        "caption",
        "a.png",
        "b\\a.png",
        "Train",
        "River",
        "7.0",
        "nan",
        "1e999",
    ]
) | st.text(max_size=6)
csv_text = st.lists(
    st.tuples(st.lists(cells, max_size=4), st.sampled_from([",", ";", "\t", '"', '","'])).map(
        lambda row: row[1].join(row[0])
    ),
    max_size=5,
).map("\n".join)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
keys = st.sampled_from(
    ["file", "file_name", "label", "split", "caption", "captions", "prompt", "metadata", *FIELDS]
)
json_text = st.lists(st.dictionaries(keys | st.text(max_size=3), anything, max_size=5), max_size=4).map(
    lambda rows: "\n".join(map(json.dumps, rows))
)
contents = st.one_of(
    csv_text.map(str.encode),
    json_text.map(str.encode),
    csv_text.map(lambda text: text.encode("utf-16")),
    st.binary(max_size=40),
)


@MANY
@example("metadata.jsonl", b'{"file": "a.png", "label": NaN}')
@example("metadata.parquet", b"PAR1PAR1")
@given(st.sampled_from(sorted(index.TABLES)), contents)
def test_tables_beside_images(name, content):
    with tempfile.TemporaryDirectory() as folder:
        for file in ("a.png", "b/a.png", "c.png"):
            (Path(folder) / file).parent.mkdir(exist_ok=True)
            (Path(folder) / file).write_bytes(b"never opened here")
        (Path(folder) / name).write_bytes(content)
        found = one_sentence(lambda: index.build(open_container(folder)))
        if found:
            assert {row["label"] for row in found["rows"]} <= {-1, *range(len(found["classes"]))}
            assert json.dumps(found, default=str)


@MANY
@example(".jsonl", b'{"prompt": "\\ud800"}')
@example(".csv", b'prompt,month\n"a",July\n')
@given(st.sampled_from([".csv", ".tsv", ".jsonl", ".parquet", ".txt"]), contents)
def test_files_of_prompts(suffix, content):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"prompts{suffix}"
        file.write_bytes(content)
        found = one_sentence(lambda: read_prompts(file), TypeError)
        if found:
            prompts, classes = found
            assert all(prompt.text.encode() is not None for prompt in prompts)
            assert {prompt.label for prompt in prompts} - {None} == set(classes or ())


@MANY
@example({"cloud_cover": "50"})
@given(st.dictionaries(st.sampled_from(sorted(FIELDS)) | st.text(max_size=3), anything, max_size=4))
def test_metadata(fields):
    for scale in (DIFFUSIONSAT, CRSDIFF):
        rows = one_sentence(lambda scale=scale: metadata_rows(fields, scale), TypeError)
        assert rows is None or rows.isfinite().all()
    known = {name: value for name, value in fields.items() if name in FIELDS}
    numbers = one_sentence(lambda: normalize_metadata(**known), TypeError)
    assert numbers is None or numbers.shape == (7,)


@MANY
@given(anything)
def test_metadata_of_any_kind(value):
    rows = one_sentence(lambda: metadata_rows(value, DIFFUSIONSAT), TypeError)
    assert rows is None or rows.shape[1] == 7


def _archives() -> dict[str, bytes]:
    made = {}
    members = {
        "set/River/a.png": TILE,
        "set/Forest/b.png": TILE,
        "set/metadata.csv": b"file,lon\nRiver/a.png,1\n",
    }
    for kind in ("", "gz", "xz", "bz2"):
        with tarfile.open(fileobj=(stream := io.BytesIO()), mode=f"w:{kind}") as archive:
            for name, content in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        made[f"tar{kind}"] = stream.getvalue()
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with zipfile.ZipFile(stream := io.BytesIO(), "w", method) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        made[f"zip{method}"] = stream.getvalue()
    return made


ARCHIVES = _archives()
changes = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(ARCHIVES)), changes, st.floats(0, 1) | st.just(1.0))
def test_damaged_archives(kind, changed, kept):
    data = bytearray(ARCHIVES[kind])
    for place, value in changed:
        data[int(place * len(data))] = value
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "set.archive"
        file.write_bytes(data[: max(1, int(kept * len(data)))])

        def read():
            container = open_container(file)
            table = index.build(container)
            return [decode(container.read(row["file"]), row["file"]) for row in table["rows"]]

        one_sentence(read)
