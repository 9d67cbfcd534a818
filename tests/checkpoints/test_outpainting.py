"""Scenes larger than the model's own pictures."""

from itertools import pairwise

import pytest
import torch
from checkpoints.tiny import write_checkpoint

from rs_course import checkpoints
from rs_course.checkpoints.text2earth import offsets


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny") / "inpainting"
    return checkpoints.load(write_checkpoint(folder, "text2earth-inpainting"))


def paint(generator, **arguments):
    return checkpoints.outpaint(generator, "16_GOOGLE_LEVEL_a lake", steps=1, **arguments)


def test_every_window_has_the_same_level_and_the_scene_is_filled(generator):
    levels = []
    hook = generator.unet.register_forward_hook(
        lambda module, args, kwargs, out: levels.append(kwargs["class_labels"].tolist()), with_kwargs=True
    )
    scene = paint(generator, size=(32, 40))
    hook.remove()
    assert scene.shape == (1, 3, 32, 40)
    assert levels == [[0.0, 16.0]] * (3 * 4)  # unconditional and conditional half, 3 × 4 windows
    untouched = (scene == 0.5).all(dim=1)
    assert not untouched.any()
    assert torch.equal(scene, paint(generator, size=(32, 40)))


def test_what_is_known_stays_and_the_next_window_sees_it(generator):
    picture = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    scene = paint(generator, size=(16, 24), image=picture)
    assert torch.equal(scene[..., :16], picture)
    other = paint(generator, size=(16, 24), image=1 - picture)
    assert not torch.equal(scene[..., 16:], other[..., 16:])


def test_first_window_is_an_ordinary_sample(generator):
    scene = paint(generator, size=(16, 24), seed=4)
    assert torch.equal(scene[..., :16], generator.sample("16_GOOGLE_LEVEL_a lake", steps=1, seed=4))


def test_windows_cover_and_overlap():
    for length, window, overlap, unit in [
        (1000, 256, 0.5, 8),
        (512, 256, 0.25, 8),
        (256, 256, 0.5, 8),
        (72, 16, 0.9, 2),
    ]:
        starts = offsets(length, window, overlap, unit)
        assert starts[0] == 0 and starts[-1] + window == length
        assert all(0 < b - a <= window * (1 - overlap) + unit for a, b in pairwise(starts))
        assert all(start % unit == 0 for start in starts)


def test_mistakes(generator):
    for message, arguments in {
        "a scene is at least 16×16": {"size": (8, 32)},
        "sides multiples of 2": {"size": (17, 32)},
        "overlap is 1": {"size": (16, 32), "overlap": 1},
    }.items():
        with pytest.raises(ValueError, match=message):
            paint(generator, **arguments)
