"""Graded damage: grade 0 changes nothing, more damage is farther from the truth, and nothing else changes."""

import numpy as np
import pytest

from rs_course.alignment import corruptions

TILES = np.random.default_rng(0).integers(0, 256, (10, 16, 16, 3), np.uint8).repeat(2, 1).repeat(2, 2)


@pytest.mark.parametrize("name", ["blur", "noise", "jpeg", "mirror", "collapse"])
def test_grade_zero_is_the_tile_itself(name):
    assert np.array_equal(getattr(corruptions, name)(TILES, 0), TILES)


@pytest.mark.parametrize(
    ("name", "grades"), [("blur", (0.5, 1, 2)), ("noise", (0.02, 0.1)), ("jpeg", (20, 80))]
)
def test_more_damage_is_farther_from_the_truth(name, grades):
    damaged = [getattr(corruptions, name)(TILES, grade) for grade in grades]
    errors = [np.abs(tile.astype(int) - TILES).mean() for tile in damaged]
    assert errors == sorted(errors) and errors[0] > 0
    assert all(tile.dtype == np.uint8 and tile.shape == TILES.shape for tile in damaged)


def test_noise_has_the_announced_size_and_its_own_draw_for_each_tile():
    grey = np.full((4, 64, 64, 3), 128, np.uint8)
    noisy = corruptions.noise(grey, 0.05).astype(float)
    assert noisy.std() == pytest.approx(0.05 * 255, rel=0.02)
    assert not np.array_equal(noisy[0], noisy[1])
    assert np.array_equal(corruptions.noise(grey[:2], 0.05), noisy[:2])


def test_mirror_turns_the_first_tiles():
    half = corruptions.mirror(TILES, 0.5)
    assert np.array_equal(half[:5], TILES[:5, :, ::-1]) and np.array_equal(half[5:], TILES[5:])


def test_collapse_repeats_what_is_left():
    assert corruptions.collapse("abcdefghij", 0.8) == list("ababababab")
    assert corruptions.collapse("abcdefghij", 1) == ["a"] * 10


def test_swap_leaves_no_caption_of_the_share_where_it_was():
    captions = list("abcdefghij")
    assert corruptions.swap(captions, 0) == captions
    assert corruptions.swap(captions, 0.5) == list("bcdeafghij")
    assert all(a != b for a, b in zip(corruptions.swap(captions, 1), captions, strict=True))


def test_a_share_is_a_share():
    with pytest.raises(ValueError, match="between 0 and 1"):
        corruptions.swap(["a", "b"], 50)


def test_pleasing_a_scorer_raises_its_score_by_invisible_changes(scorer, images):
    import torch

    *_, pleased = corruptions.pgd_attack(scorer, images, "a river", bound=4 / 255, steps=6)
    assert (pleased - images).abs().max() <= 4 / 255 + 1e-6
    assert pleased.min() >= 0 and pleased.max() <= 1
    gain = scorer.similarity(pleased, ["a river"]) - scorer.similarity(images, ["a river"])
    assert (gain > 0).all()
    scattered = (
        images + 4 / 255 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0)).sign()
    )
    noise = scorer.similarity(scattered.clamp(0, 1), ["a river"]) - scorer.similarity(images, ["a river"])
    assert gain.mean() > 3 * noise.mean().abs()
