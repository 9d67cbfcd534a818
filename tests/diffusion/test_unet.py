import pytest
import torch
from safetensors.torch import load_file

from rs_course.diffusion.unet import WEIGHTS, UNet, timestep_embedding

SMALL = {"channels": (16, 16), "blocks": (1, 1, 1), "classes": 4, "heads": 2}


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(0)
    model = UNet(**SMALL).eval()
    for parameter in model.parameters():  # the zero-initialised layers too
        torch.nn.init.normal_(parameter, std=0.1)
    return model


def test_shapes_and_conditions_matter(unet):
    x, t, y = torch.randn(3, 3, 16, 16), torch.tensor([0, 500, 999]), torch.tensor([0, 1, 3])
    out = unet(x, t, y)
    assert out.shape == x.shape
    assert not torch.allclose(out, unet(x, t - t + 5, y))
    assert not torch.allclose(out, unet(x, t, y - y))
    torch.testing.assert_close(out[1:2], unet(x[1:2], t[1:2], y[1:2]))


def test_starts_by_answering_zero():
    assert not UNet(**SMALL)(torch.randn(1, 3, 16, 16), torch.tensor([3]), torch.tensor([0])).any()


def test_saved_and_loaded(unet, tmp_path):
    unet.save(tmp_path)
    weights = load_file(tmp_path / WEIGHTS)
    assert {w.dtype for w in weights.values()} == {torch.float16}
    again = UNet.load(tmp_path)
    assert not again.training
    x, t, y = torch.randn(2, 3, 16, 16), torch.tensor([10, 900]), torch.tensor([1, 2])
    torch.testing.assert_close(again(x, t, y), unet(x, t, y), atol=0.05, rtol=0.05)


def test_missing_and_mismatched_files_are_named(unet, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no config\.json"):
        UNet.load(tmp_path)
    unet.save(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"classes": 4', '"classes": 5'))
    with pytest.raises(ValueError, match="do not fit"):
        UNet.load(tmp_path)


def test_timestep_embedding_is_diffusers_own():
    from diffusers.models.embeddings import get_timestep_embedding

    t = torch.tensor([0, 1, 500, 999])
    theirs = get_timestep_embedding(t, 32, flip_sin_to_cos=True, downscale_freq_shift=0)
    torch.testing.assert_close(timestep_embedding(t, 32), theirs)
