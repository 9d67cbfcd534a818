"""A look inside the UNet: shapes of its blocks, and attention that sums to one and changes no image."""

import pytest
import torch
from checkpoints.tiny import write_checkpoint

from rs_course import checkpoints
from rs_course.checkpoints import figures


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return checkpoints.load(write_checkpoint(tmp_path_factory.mktemp("inside") / "sat"))


def test_the_shapes_go_down_and_up_again_and_no_hook_stays(checkpoint):
    rows = figures.unet_shapes(checkpoint, "a river")
    names, shapes, reads = zip(*rows, strict=True)
    side = checkpoint.default_size[0] // checkpoint.vae_factor
    channels = checkpoint.unet.config.out_channels
    assert names[0] == "first conv" and shapes[0][1:] == (side, side)
    assert names[-1] == "last conv" and shapes[-1] == (channels, side, side)
    assert len(rows) % 2 == 1 and names[len(rows) // 2] == "middle" and any(reads)
    assert not any(module._forward_hooks for module in checkpoint.unet.modules())


def test_the_attention_is_shared_out_and_the_image_is_the_plain_one(checkpoint):
    ask = {"steps": 2, "seed": 3}
    processors = {type(one) for one in checkpoint.unet.attn_processors.values()}
    pieces, maps, image = figures.attention(checkpoint, "a river", **ask)
    assert len(pieces) == len(maps) == len(checkpoint.tokenizer("a river").input_ids)
    assert (maps > 0).all() and (maps.sum(0) <= 1.0001).all()
    torch.testing.assert_close(image, checkpoint.sample("a river", guidance=1.0, **ask), rtol=0, atol=1e-4)
    assert {type(one) for one in checkpoint.unet.attn_processors.values()} == processors
