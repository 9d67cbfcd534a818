"""DiffusionSat's temporal transformers against their formula, at sizes that no published model has."""

import pytest
import torch
import torch.nn.functional as F
from checkpoints.tiny import CONTROLNET, formula_state

from rs_course.checkpoints.diffusionsat import SatControlNet3D


def attention(state, name, x, heads):
    q, k, v = (
        F.linear(x, state[f"{name}.to_{one}.weight"]).unflatten(-1, (heads, -1)).transpose(1, 2)
        for one in "qkv"
    )
    scores = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(dim=-1)
    mixed = (scores @ v).transpose(1, 2).flatten(-2)
    return F.linear(mixed, state[f"{name}.to_out.0.weight"], state[f"{name}.to_out.0.bias"])


def transformer(state, frames, heads, groups):
    """One temporal transformer on ``[B, C, T, h, w]``: every pixel attends to itself at all times, twice."""
    batch, channels, count, height, width = frames.shape
    x = F.group_norm(frames, groups, state["norm.weight"], state["norm.bias"], eps=1e-6)
    x = x.permute(0, 3, 4, 2, 1).reshape(batch * height * width, count, channels)
    x = F.linear(x, state["proj_in.weight"], state["proj_in.bias"])
    block = "transformer_blocks.0"

    def normal(name):
        return F.layer_norm(x, x.shape[-1:], state[f"{block}.{name}.weight"], state[f"{block}.{name}.bias"])

    x = x + attention(state, f"{block}.attn1", normal("norm1"), heads)
    x = x + attention(state, f"{block}.attn2", normal("norm2"), heads)
    value, gate = F.linear(
        normal("norm3"), state[f"{block}.ff.net.0.proj.weight"], state[f"{block}.ff.net.0.proj.bias"]
    ).chunk(2, dim=-1)
    x = x + F.linear(value * F.gelu(gate), state[f"{block}.ff.net.2.weight"], state[f"{block}.ff.net.2.bias"])
    x = F.linear(x, state["proj_out.weight"], state["proj_out.bias"])
    return frames + x.reshape(batch, height, width, count, channels).permute(0, 4, 3, 1, 2)


@pytest.mark.parametrize("groups", [8, 16, 32])
def test_groups_of_the_norm_are_the_network_s_but_for_the_first_slot(groups):
    """Slot 0 has 8 heads of 64 and 32 groups; behind the down-sampler of level i lie heads of
    ``attention_head_dim[i]`` numbers and the network's own groups.
    """
    config = {**CONTROLNET, "block_out_channels": [64, 96], "attention_head_dim": [4, 8]}
    net = SatControlNet3D(**{**config, "norm_num_groups": groups}, use_temporal_transformer=True)
    net.load_state_dict(formula_state(net, "temporal"))
    net.eval().requires_grad_(False)
    with torch.no_grad():
        for weight in net.mixing_attns:
            weight.fill_(0.75)
    frames = torch.randn(2, 64, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    slots = [k for k, block in enumerate(net.temporal_blocks) if not isinstance(block, torch.nn.Identity)]
    assert slots == [0, 2]
    for slot, heads, own_groups in ((0, 8, 32), (2, 64 // 4, groups)):
        expected = transformer(net.temporal_blocks[slot].state_dict(), frames, heads, own_groups)
        mixed = 0.75 * expected + 0.25 * frames
        assert torch.allclose(net._mixed(slot, frames), mixed, atol=1e-5, rtol=1e-5)
