"""The mini ControlNets' training: a silent start, the right picture and metadata, and what is written."""

import pytest
import torch

from rs_course import checkpoints
from rs_course.superres import degradation
from rs_course.training import controlnet, latent


@pytest.mark.parametrize(("task", "side"), [("superres", 16), ("date", 64)])
def test_the_start_is_the_generator_itself(sat_unet, task, side):
    network = controlnet.Denoiser(sat_unet, controlnet.SCALES[task])
    x, t, states = torch.randn(2, 4, 16, 16), torch.tensor([10, 900]), torch.randn(2, 77, 32)
    metadata = torch.rand(2, 7) * 1000
    with torch.no_grad():
        alone = sat_unet(x, t, states, metadata=metadata).sample
        together = network(x, t, states, torch.rand(2, 3, side, side), metadata, metadata)
    assert torch.equal(alone, together)
    inside = network.controlnet.state_dict()
    for key in ("down_blocks.1.resnets.0.conv1.weight", "metadata_embedding.5.linear_1.weight"):
        assert torch.equal(inside[key], sat_unet.state_dict()[key])


def test_superres_is_shown_the_tile_itself_four_times_smaller(mapped_scenes, texts):
    place = torch.arange(12.0)[:, None, None, None].expand(12, 4, 16, 16)  # tells which tile was drawn
    x0, _, picture, metadata, coarse = next(
        controlnet.batches(mapped_scenes, place, texts, "superres", 0, 0, size=8)
    )
    tiles = torch.cat([torch.from_numpy(part) for part in mapped_scenes[:2]]).permute(0, 3, 1, 2) / 255
    drawn = x0[:, 0, 0, 0].long()
    assert torch.equal(picture, degradation.bicubic(tiles[drawn]))
    gsd = 2  # its place among the seven numbers
    torch.testing.assert_close(coarse[:, gsd], 4 * metadata[:, gsd])


def test_date_is_shown_the_same_place_on_the_other_date(mapped_scenes, texts):
    place = torch.arange(12.0)[:, None, None, None].expand(12, 4, 16, 16)
    x0, states, picture, metadata, other = next(
        controlnet.batches(mapped_scenes, place, texts, "date", 0, 0, size=16)
    )
    tiles = torch.cat([torch.from_numpy(part) for part in mapped_scenes[:2]]).permute(0, 3, 1, 2) / 255
    drawn = x0[:, 0, 0, 0].long()
    assert torch.equal(picture, tiles[(drawn + 6) % 12])
    known = controlnet.normalized([*mapped_scenes.metadata, *mapped_scenes.other_metadata])
    for rows, places in ((metadata, drawn), (other, (drawn + 6) % 12)):
        assert ((rows == known[places]) | (rows == 0)).all()
    # Captions speak of the first date only.
    assert (states[drawn >= 6] == 0).all() and (states[drawn < 6] != 0).any()


def test_what_is_written_steers_the_generator(tmp_path, sat_unet, mapped_scenes, texts):
    from checkpoints.tiny import write_checkpoint

    base = write_checkpoint(tmp_path / "base")
    (tmp_path / "base" / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    sat_unet.save_pretrained(base / "unet")
    network, encoded = controlnet.Denoiser(sat_unet, 2), torch.randn(12, 4, 16, 16)

    def batches(first):
        return controlnet.batches(mapped_scenes, encoded, texts, "date", 0, first, size=4)

    def save(network, out):
        from rs_course.checkpoints.convert import write_model

        write_model(network.controlnet, out, "controlnet")

    latent.fit(tmp_path / "net", network, batches, save, minutes=0.02, lr=1e-2)
    generator = checkpoints.load(base, controlnet=tmp_path / "net")
    options = {"steps": 2, "guidance": 1, "size": (32, 32), "output": "latent"}
    dark, bright = (generator.sample("", image=torch.full((1, 3, 64, 64), v), **options) for v in (0.1, 0.9))
    assert (dark - bright).abs().max() > 1e-5
