"""A few scenes with maps, and a UNet small enough for seconds, for the trainings that build on one."""

from contextlib import contextmanager

import pytest
import torch

UNET = {
    "sample_size": 16,
    "block_out_channels": (32, 48),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": (2, 3),
    "norm_num_groups": 16,
    "cross_attention_dim": 32,
    "use_linear_projection": True,
}


@pytest.fixture(scope="session")
def sat_unet():
    from rs_course.checkpoints.diffusionsat import SatUNet

    torch.manual_seed(0)
    unet = SatUNet(**UNET).eval()
    with torch.no_grad():
        for parameter in unet.parameters():  # norms and biases away from 1 and 0, which would hide a mistake
            parameter += 0.05 * torch.randn_like(parameter)
    return unet


@contextmanager
def rendered_here(tmp_path_factory, chunk: int):
    """A cache of its own, and no more scenes rendered at a time than a test looks at."""
    from rs_course.training import training_sets

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RS_COURSE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(training_sets, "CHUNK", chunk)
        yield


@pytest.fixture(scope="session")
def mapped_scenes(tmp_path_factory):
    from rs_course.training import training_sets

    with rendered_here(tmp_path_factory, 4):
        return training_sets.mapped_scenes(6)


@pytest.fixture(scope="session")
def layout_scenes(tmp_path_factory):
    from rs_course.training import layouts

    with rendered_here(tmp_path_factory, 40):
        return layouts.layouts(40)


@pytest.fixture(scope="session")
def texts():
    """Stands for the text tower: the length of a sentence, 77 times."""
    return lambda sentences: torch.stack([torch.full((77, 32), float(len(s) % 7)) for s in sentences])
