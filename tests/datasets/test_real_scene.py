"""The one real scene that comes with a package: its bands, its picture, and what is not known about it."""

import numpy as np
import pytest

from rs_course import datasets


def test_bands_and_picture_belong_together():
    pytest.importorskip("spyndex", reason="spyndex, which holds the scene, is not installed")
    scene = datasets.real_scene()
    assert scene.image.shape == (300, 300, 3) and scene.image.dtype == np.uint8
    assert scene.bands.shape == (4, 300, 300) and 100 < scene.bands.min() < scene.bands.max() < 10_000
    for colour, band in enumerate((2, 1, 0)):
        seen, known = (x.astype(float).ravel() for x in (scene.image[..., colour], scene.bands[band]))
        assert np.corrcoef(seen, known)[0, 1] > 0.999
    assert scene.licence == "MIT" and scene.metadata["gsd"] == 10.0
    assert scene.metadata["date"] == scene.metadata["place"] == "unknown"
    # Vegetation reflects much near infrared and little red light: much of the scene is forest and fields.
    red, infrared = scene.bands[2:].astype(float)
    assert ((infrared - red) / (infrared + red) > 0.4).mean() > 0.2


def test_cutouts_keep_their_places():
    pytest.importorskip("spyndex", reason="spyndex, which holds the scene, is not installed")
    scene = datasets.real_scene()
    assert scene.cutouts().shape == (4, 4, 64, 64, 3)
    parts = scene.cutouts(step=20, size=40)
    assert parts.shape == (14, 14, 40, 40, 3) and parts.dtype == np.uint8
    assert np.array_equal(parts[3, 5], scene.image[60:100, 100:140])
    assert scene.provenance.startswith("real · Sentinel-2 · spyndex ")


def test_without_its_package_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setattr("rs_course.datasets.loading.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pip install spyndex"):
        datasets.real_scene()
