"""The enhancement network equals the published one."""

import pytest
import torch
from checkpoints.golden import golden
from checkpoints.tiny import formula

from rs_course import checkpoints
from rs_course.checkpoints.text2earth import RRDBNet


def test_equals_the_official_network():
    fixture = golden("visual_enhancement")
    enhancer = checkpoints.load_enhancer(fixture.folder / "weights.pth", device="cpu")
    with torch.no_grad():
        fixture.close("enhancement", "output", enhancer(fixture["x"]), "y")
    fixture.close_grey("enhancement", enhancer.enhance(fixture["x"]), "y_uint8")


def test_parameters_at_full_size():
    with torch.device("meta"):
        assert round(sum(p.numel() for p in RRDBNet().parameters()) / 1e6, 2) == 16.70


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_sizes_are_read_off_the_weights(scale, tmp_path):
    network = RRDBNet(scale, width=8, blocks=2, growth=4)
    network.load_state_dict({key: formula(key, value.shape) for key, value in network.state_dict().items()})
    torch.save({"params": network.state_dict()}, tmp_path / "weights.pth")
    loaded = checkpoints.load_enhancer(tmp_path / "weights.pth")
    pictures = torch.rand(3, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    enhanced = loaded.enhance(pictures, batch_size=2)
    assert enhanced.shape == (3, 3, 8 * scale, 12 * scale)
    with torch.no_grad():
        assert torch.allclose(enhanced, network(pictures).clamp(0, 1), atol=1e-5)
    if scale == 2:
        with pytest.raises(ValueError, match="must be multiples of 2"):
            loaded.enhance(pictures[..., :7])


def test_another_file(tmp_path):
    torch.save({"params_ema": {"x": torch.zeros(1)}}, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match="is no RRDBNet"):
        checkpoints.load_enhancer(tmp_path / "weights.pth")
