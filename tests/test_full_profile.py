"""Every notebook with PROFILE="full", as users meet it: published checkpoints by name, real data in its zip.

The checkpoints have the official layouts and small random weights, and are brought by ``rs-course fetch
--from``; the data are zips in the forms of EuroSAT and UC Merced, of simulated tiles. Loading and drawing by
name run always; the notebooks, minutes each, are run by ``make rehearsal``.
"""

import io
import json
import zipfile
from pathlib import Path

import nbformat
import pytest
import torch
from checkpoints import official
from PIL import Image

from rs_course import checkpoints, cli, registry, simulated_earth
from rs_course.execution.runner import declared_parameters

_NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("[0-9]*.ipynb"))
_PER_CLASS = 1000  # of which a fifth is for the test: one lesson asks for 2,000 test tiles
# What keeps a rehearsal short where a notebook has a parameter for it.
_SHORT = {"05": {"STEPS": 2}, "06": {"SCENES": 2}}


def _archive(file: Path, name: str, sharp: bool, count: int) -> Path:
    """A zip of simulated tiles: at 10 m, or ``sharp`` at 2.5 m; ``name`` says where each lies in it. The same
    few come again and again: only their number has to be right.
    """
    with zipfile.ZipFile(file, "w") as archive:
        for label in simulated_earth.CLASSES:
            scenes, encoded = [simulated_earth.scene(label, 5000 + number) for number in range(8)], []
            for scene in scenes:
                pixels, kind = (scene.image_hr, "TIFF") if sharp else (scene.image, "JPEG")
                Image.fromarray(pixels).save(stream := io.BytesIO(), kind)
                encoded.append(stream.getvalue())
            for number in range(count):
                archive.writestr(name.format(label=label, number=number), encoded[number % len(encoded)])
    return file


@pytest.fixture(scope="module")
def eurosat(tmp_path_factory) -> Path:
    """EuroSAT's archive, small."""
    file = tmp_path_factory.mktemp("data") / "EuroSAT.zip"
    return _archive(file, "2750/{label}/{label}_{number}.jpg", False, _PER_CLASS)


@pytest.fixture(scope="module")
def ucmerced(tmp_path_factory) -> Path:
    """UC Merced's archive, small: images large enough to be made sharp again."""
    file = tmp_path_factory.mktemp("data") / "UCMerced_LandUse.zip"
    return _archive(file, "UCMerced_LandUse/Images/{label}/{label}{number:02}.tif", True, 10)


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    """A cache into which the four published generators were brought by hand."""
    cache, usb = tmp_path_factory.mktemp("cache"), tmp_path_factory.mktemp("usb")
    brought = {
        "diffusionsat-256": official.write_diffusionsat(usb / registry.get("diffusionsat-256").files[0].path),
        "text2earth": official.write_text2earth(usb / "Text2Earth"),
        "text2earth-inpainting": official.write_text2earth(usb / "inpainting", inpainting=True),
        "crsdiff": official.write_crsdiff(usb / "crsdiff"),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RS_COURSE_CACHE", str(cache))
        for name, path in brought.items():
            assert cli.main(["fetch", name, "--from", str(path)]) == 0
    return cache


def test_the_published_names_are_brought_loaded_and_draw(published, monkeypatch):
    monkeypatch.setenv("RS_COURSE_CACHE", str(published))
    tile = {"image": torch.full((1, 3, 64, 64), 0.5), "mask": torch.ones(1, 1, 64, 64)}
    for name in ("diffusionsat-256", "text2earth", "text2earth-inpainting", "crsdiff"):
        generator = checkpoints.load(name, device="cpu")
        assert generator.family == (registry.get(name).family or name)
        own = tile if name.endswith("inpainting") else {}
        image = generator.sample("A harbour.", steps=2, size=64, **own)
        assert image.shape == (1, 3, 64, 64) and image.isfinite().all() and image.std() > 0.01


@pytest.mark.rehearsal
@pytest.mark.parametrize("path", _NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_in_full(path, published, tmp_path, monkeypatch, capsys, request):
    monkeypatch.setenv("RS_COURSE_CACHE", str(published))
    declared = declared_parameters(nbformat.read(path, as_version=4))
    asked = _SHORT.get(path.stem[:2], {})
    if "DATASET" in declared:
        asked = {
            **asked,
            "DATASET": request.getfixturevalue("ucmerced" if "SCENES" in declared else "eurosat"),
        }
    options = [word for name, value in asked.items() for word in ("-p", name, str(value))]
    status = cli.main(["run", str(path), "--profile", "full", "--out", str(tmp_path), *options])
    assert status == 0, capsys.readouterr().err
    record = json.loads((tmp_path / "notebooks" / f"{path.stem}.json").read_text())
    assert record["profile"] == "full" and record["error"] is None


@pytest.mark.slow
def test_the_names_of_a_single_pickle_are_those_of_the_official_file(shared, tmp_path):
    """What :mod:`checkpoints.official` writes for CRS-Diff, against the keys that the authors' code wrote."""
    folder = shared / "fixtures" / "crsdiff"
    params = json.loads((folder / "config.json").read_text())["model"]["params"]
    sizes = official.Sizes(64, {}, {}, {}, params)
    own = torch.load(official.write_crsdiff(tmp_path, sizes) / "last.ckpt")["state_dict"]
    theirs = torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]
    parts = {key: value.shape for key, value in theirs.items() if "." in key}
    assert {key: value.shape for key, value in own.items() if "." in key} == parts
