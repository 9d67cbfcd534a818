"""The two real subsets that lie beside a checkout on some machines."""

import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from rs_course import datasets


@pytest.fixture(scope="module")
def decoded_once(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def cache(decoded_once, monkeypatch):
    """One cache for all tests of this module."""
    monkeypatch.setenv("RS_COURSE_CACHE", str(decoded_once))


def test_eurosat_tar(shared):
    path = shared / "data" / "eurosat.tar"
    train, test = datasets.load(path), datasets.load(path, "test")
    assert np.bincount(train.labels).tolist() == [1000] * 10
    assert np.bincount(test.labels).tolist() == [200] * 10
    assert test.provenance == "real · EuroSAT · test" and test.classes[8] == "River"
    small, large = (datasets.load(path, "test", size=size) for size in (100, 200))
    assert np.array_equal(small.images, large.images[:100])
    assert np.bincount(small.labels).tolist() == [10] * 10
    assert datasets.overlap(small, large.subset(range(100, 200))) == []
    with tarfile.open(path) as archive:
        for name, pixels in zip(small.ids[:20], small.images, strict=False):
            encoded = archive.extractfile(f"eurosat_shared/{name}").read()
            assert np.array_equal(pixels, np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB")))


@pytest.mark.slow
def test_eurosat_splits_share_no_tile(shared):
    path = shared / "data" / "eurosat.tar"
    assert datasets.overlap(datasets.load(path), datasets.load(path, "test")) == []


def test_ucm_tar(shared):
    path = shared / "data" / "ucm_png.tar"
    train, test = datasets.load(path), datasets.load(path, "test")
    assert (len(train), len(test), len(train.classes)) == (231, 63, 21)
    assert train.images.shape == (231, 256, 256, 3) and train.provenance == "real · UCM-Captions · train"
    assert all(len(captions) == 5 for captions in train.captions)
    assert train.captions[0][0] == "There is a piece of farmland ." and train.metadata[0]["ucm_id"] == 3
    assert datasets.overlap(train, test) == []
