"""Lists of files that others wrote, in any form: taken as they are meant, or refused in one sentence."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rs_course import paths, registry
from rs_course.commands import machine

_many = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
_PATHS = st.text(max_size=12) | st.lists(
    st.sampled_from(["a", "..", ".", "", "/", "\\", "C:", "unet", "w.bin", "receipt.json", "\0", "\n"]),
    max_size=5,
).map("/".join)
_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | _PATHS | st.just("0" * 64)
_ANYTHING = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_PATHS, inner, max_size=3),
    max_leaves=8,
)
_ROWS = st.fixed_dictionaries(
    {"bytes": st.integers(-1, 9) | _LEAVES, "sha256": st.sampled_from(["0" * 64, "f" * 64, "x", None, 3])}
)
_RECEIPTS = st.dictionaries(_PATHS, _ROWS | _ANYTHING, max_size=3) | _ANYTHING
_LISTINGS = st.lists(
    st.fixed_dictionaries({"path": _PATHS}, optional={"bytes": _LEAVES, "url": _LEAVES}) | _ANYTHING
)


def _taken(read):
    """What was read, or None where it was refused in one sentence."""
    try:
        return read()
    except ValueError as error:
        assert "\n" not in str(error) and len(str(error)) > 10
        return None


def _lie_inside(files, folder=Path("/cache/entry")):
    for file in files:
        place = Path(paths.os.path.normpath(folder / file.path))
        assert place.is_relative_to(folder) and place != folder
        assert place.name.lower() not in ("receipt.json", "listing.json") or place.parent != folder


@_many
@example({"../../../outside.txt": {"bytes": 1, "sha256": "0" * 64}})
@example({"a/..": {"bytes": 1, "sha256": "0" * 64}})
@given(_RECEIPTS)
def test_any_receipt(content):
    _lie_inside((_taken(lambda: registry.receipt_files(content, "a mirror")) or {}).values())


@_many
@example([{"path": "..\\\\outside", "sha256": "0" * 64}])
@given(_LISTINGS)
def test_any_listing(rows):
    _lie_inside(_taken(lambda: registry.files_of(rows, "a hub")) or ())


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RS_COURSE_CACHE", str(tmp_path))
    return tmp_path / "fetched"


@_many
@example(b"\xff")
@example(b"[" * 100_000)
@given(st.binary(max_size=30) | (_RECEIPTS | _LISTINGS).map(lambda content: json.dumps(content).encode()))
def test_any_bytes_in_the_cache(cache, content):
    """Of a hub's entry both files are read, of one with files of its own the receipt."""
    for name in ("openclip-vit-b-32", "dsclora"):
        entry = registry.get(name)
        entry.folder.mkdir(parents=True, exist_ok=True)
        for file in ("receipt.json", "listing.json"):
            (entry.folder / file).write_bytes(content)
        here = _taken(entry.local_files)
        assert not here  # nothing but the lists is there
        _lie_inside(_taken(entry.listing) or ())


def _places(content, so_far=()):
    """Every place of a JSON document, as keys from the outside in."""
    inner = (
        content.items()
        if isinstance(content, dict)
        else enumerate(content)
        if isinstance(content, list)
        else ()
    )
    for key, value in inner:
        yield (*so_far, key)
        yield from _places(value, (*so_far, key))


_REGISTRY = json.loads((paths.data_dir() / "registry.json").read_text(encoding="utf-8"))
_PLACES = list(_places(_REGISTRY))


@_many
@example(("entries",), [])
@given(st.sampled_from(_PLACES), _ANYTHING)
def test_a_registry_with_any_value_in_any_place(tmp_path, place, value):
    changed = json.loads(json.dumps(_REGISTRY))
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    (tmp_path / "registry.json").write_text(json.dumps(changed), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "data_dir", lambda: tmp_path)
        patch.setenv("RS_COURSE_CACHE", str(tmp_path / "cache"))
        registry.entries.cache_clear()
        found = _taken(registry.entries)
        if found is not None:
            assert all(isinstance(name, str) for name in found)
            assert machine.table()
    registry.entries.cache_clear()
