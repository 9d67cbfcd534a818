"""Augmentations against their definitions."""

import numpy as np
import pytest
import torch

from rs_course.classification import augment


@pytest.fixture
def batch():
    x = torch.rand(64, 3, 12, 10, generator=torch.Generator().manual_seed(0))
    y = torch.nn.functional.one_hot(torch.arange(64) % 4, 4).float()
    return x, y


@pytest.mark.parametrize("name", list(augment.AUGMENTATIONS))
def test_same_draw_same_images_and_targets_stay_distributions(batch, name):
    x, y = batch[0][..., :10, :], batch[1]  # rotation needs squares
    before = x.clone()
    one, target = augment.parse(name)(x, y, np.random.default_rng(3))
    again, _ = augment.parse(name)(x, y, np.random.default_rng(3))
    other, _ = augment.parse(name)(x, y, np.random.default_rng(4))
    assert torch.equal(one, again) and not torch.equal(one, other)
    assert one.shape == x.shape and one.min() >= 0 and one.max() <= 1
    assert torch.allclose(target.sum(1), torch.ones(64))
    assert torch.equal(x, before)  # the caller's images stay as they were


def test_flip_and_rotate_give_all_eight_symmetries_of_the_square():
    tile = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(1)).expand(400, -1, -1, -1)
    views = [torch.rot90(v, k, (1, 2)) for v in (tile[0], tile[0].flip(2)) for k in range(4)]
    changed, _ = augment.parse("flip+rotate")(tile, torch.ones(400, 1), np.random.default_rng(0))
    which = [[torch.equal(image, view) for view in views] for image in changed]
    counts = np.sum(which, axis=0)
    assert (np.sum(which, axis=1) == 1).all()
    assert counts.min() > 25  # 50 expected of each


def test_moves_in_one_gather_are_the_moves_one_after_the_other(batch):
    x, y = batch[0][..., :10, :], batch[1]
    once, _ = augment.parse("flip+rotate+jitter+crop")(x, y, np.random.default_rng(5))
    rng = np.random.default_rng(5)
    for move in (augment.flip, augment.rotate, augment.jitter, augment.crop):
        x, y = move(x, y, rng)
    torch.testing.assert_close(once, x)  # the mean of `jitter` is summed in another order


def test_crop_is_a_shift(batch):
    x, y = batch
    shifted, _ = augment.crop(x, y, np.random.default_rng(0), share=0.25)
    padded = torch.nn.functional.pad(x, (2, 2, 3, 3), mode="reflect")
    for image, wide in zip(shifted, padded, strict=True):
        assert any(torch.equal(image, wide[:, i : i + 12, j : j + 10]) for i in range(7) for j in range(5))


def test_mixup_mixes_images_and_targets_by_the_same_share(batch):
    x, y = batch
    mixed, target = augment.mixup(x, y, np.random.default_rng(0), alpha=1.0)
    rng = np.random.default_rng(0)
    share, other = rng.beta(1.0, 1.0), torch.from_numpy(rng.permutation(64))
    assert torch.allclose(mixed, share * x + (1 - share) * x[other], atol=1e-6)
    assert torch.allclose(target, share * y + (1 - share) * y[other], atol=1e-6)


def test_cutmix_targets_are_the_areas():
    x = torch.arange(8.0).view(8, 1, 1, 1).expand(8, 3, 16, 16) / 10  # image k is the constant k / 10
    y = torch.eye(8)
    for seed in range(20):
        mixed, target = augment.cutmix(x, y, np.random.default_rng(seed))
        for k in range(8):
            own = (mixed[k, 0] == x[k, 0]).float().mean().item()
            assert target[k, k].item() == pytest.approx(own, abs=1e-6)


def test_cutout_paints_one_box_in_the_mean_colour(batch):
    x, y = batch
    painted, target = augment.cutout(x, y, np.random.default_rng(0), share=0.5)
    assert torch.equal(target, y)
    mean = x.mean((0, 2, 3))
    for image, before in zip(painted, x, strict=True):
        inside = (image != before).any(0)
        assert torch.allclose(image[:, inside], mean[:, None].expand(-1, int(inside.sum())))
        rows, columns = inside.any(1), inside.any(0)
        assert torch.equal(inside, rows[:, None] & columns[None])
        assert rows.sum() <= 6 and columns.sum() <= 5


def test_an_unknown_name_is_said():
    with pytest.raises(ValueError, match="no augmentation 'colour'; there are flip, rotate"):
        augment.parse("flip+colour")
