"""A generator as an upscaler: SDEdit stays near its start, a ControlNet sees the picture."""

import copy

import pytest
import torch

from rs_course import checkpoints, superres
from rs_course.superres import baselines
from rs_course.superres.baselines import DiffusionUpscaler


@pytest.fixture(scope="module")
def generator():
    return checkpoints.load("mini-diffusionsat", device="cpu")


@pytest.fixture
def low():
    """Two smooth pictures ``[2, 3, 16, 16]``."""
    coarse = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, (16, 16), mode="bicubic").clamp(0, 1)


def test_sdedit_leaves_its_start_with_its_strength(generator, low):
    start, far = baselines.bicubic(low), []
    for strength in (0.25, 0.75):
        draw = DiffusionUpscaler(generator, gsd=10.0, strength=strength, steps=4)
        far.append((superres.upscale(low, draw) - start).abs().mean().item())
    assert 0 < far[0] < far[1]


def test_the_draw_belongs_to_the_seed(generator, low):
    draws = [superres.upscale(low[:1], DiffusionUpscaler(generator, steps=4, seed=s)) for s in (0, 0, 1)]
    assert draws[0].shape == (1, 3, 64, 64)
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])


def test_a_controlnet_sees_the_picture(generator, low, tmp_path):
    from rs_course.checkpoints.convert import write_model
    from rs_course.training.controlnet import encoder_copy

    silent = encoder_copy(generator.unet)
    speaking = copy.deepcopy(silent)
    torch.manual_seed(0)
    torch.nn.init.normal_(speaking.controlnet_mid_block.weight, std=0.2)
    apart = {}
    for name, network in (("silent", silent), ("speaking", speaking)):
        write_model(network, tmp_path / name, "controlnet")
        steered = checkpoints.load("mini-diffusionsat", device="cpu", controlnet=tmp_path / name)
        draw = DiffusionUpscaler(steered, gsd=10.0, steps=2)
        one, other = (superres.upscale(picture[None], draw) for picture in low)  # the same noise
        apart[name] = (one - other).abs().max().item()
    assert apart["silent"] == 0 < apart["speaking"]
