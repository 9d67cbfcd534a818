"""Three disjoint parts, near-duplicates out, nothing guessed; and training that stops by validation."""

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from classification.conftest import coloured
from rs_course.classification import evaluation
from rs_course.classification.controls import held_out, near_duplicates


def folder(path, parts, *, classes=("Forest", "River")):
    """A data set as class folders under split folders; every image its own texture."""
    rng = np.random.default_rng(0)
    for split, count in parts.items():
        for k, name in enumerate(classes):
            (path / split / name).mkdir(parents=True)
            for n in range(count):
                tile = rng.integers(0, 200, (16, 16, 3)) + 50 * np.eye(3, dtype=int)[k]
                Image.fromarray(tile.astype(np.uint8)).save(path / split / name / f"{n}.png")
    return path


def test_without_validation_of_its_own_the_test_images_are_halved_by_content(tmp_path):
    parts = held_out(str(folder(tmp_path, {"train": 4, "test": 6})))
    assert [len(p) for p in (parts.pool, parts.validation, parts.test)] == [8, 6, 6]
    assert np.bincount(parts.validation.labels).tolist() == [3, 3]
    seen = [set(part.hashes) for part in (parts.pool, parts.validation, parts.test)]
    assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])
    assert parts.how == "the official test images, by content"


def test_a_split_for_validation_is_kept_and_a_changed_file_is_seen_in_the_same_process(tmp_path):
    path = folder(tmp_path, {"train": 4, "val": 2, "test": 2})
    parts = held_out(str(path))
    assert parts.how == "the collection's own splits" and len(parts.test) == 4 and parts.removed == 0
    copy = np.asarray(Image.open(path / "test" / "River" / "0.png"))
    Image.fromarray(np.rot90(copy)).save(path / "train" / "River" / "0.png")  # a turned copy leaks
    leaky = held_out(str(path))
    assert leaky.removed == 1 and len(leaky.pool) == 7
    assert leaky.test.hashes == parts.test.hashes


def test_near_duplicates_are_edited_copies_and_not_all_of_the_open_water():
    rng = np.random.default_rng(1)
    tiles = coloured(2, side=64).images
    noisy = np.clip(np.rot90(tiles[:2, :, ::-1], 1, (1, 2)) + rng.normal(0, 4, (2, 64, 64, 3)), 0, 255)
    water = np.clip(60 + rng.normal(0, 2, (2, 64, 64, 3)), 0, 255).astype(np.uint8)
    queries = np.concatenate([noisy.astype(np.uint8), tiles[4:], water[:1]])
    found = near_duplicates(queries, np.concatenate([tiles[:4], water[1:]]))
    assert found.tolist() == [True, True, False, False, False]


def test_too_few_or_missing_images_are_named(tmp_path):
    with pytest.raises(ValueError, match="1 test images of the class Forest, too few to part"):
        held_out(str(folder(tmp_path / "few", {"train": 2, "test": 1})))
    path = folder(tmp_path / "none", {"train": 2, "val": 1, "test": 1})
    (path / "val" / "River" / "0.png").unlink()
    with pytest.raises(ValueError, match=r"no images: put some in|no validation image of the class River"):
        held_out(str(path))


@pytest.mark.parametrize("name", list(evaluation.SHIFTS))
def test_shifts_are_graded_and_begin_at_nothing(name):
    rng = np.random.default_rng(0)
    smooth = gaussian_filter(rng.normal(size=(6, 64, 64, 3)), (0, 12, 12, 0), mode="wrap")
    tiles = np.clip(110 + 60 * smooth / smooth.std(), 0, 255).astype(np.uint8)
    shift = evaluation.SHIFTS[name]
    changes = [np.abs(shift(tiles, s).astype(int) - tiles).mean() for s in (0.0, 0.5, 1.0)]
    assert changes[0] < 0.5 and changes[0] < changes[1] < changes[2]
    assert np.array_equal(shift(tiles[:2], 1.0), shift(tiles, 1.0)[:2])  # tile i depends on i alone
