"""The mini ControlNet's training: a silent start, the right picture and metadata, and what is written."""

from dataclasses import replace

import torch

from rs_course import checkpoints
from rs_course.checkpoints.conditions import fit_conditions
from rs_course.checkpoints.images import resize
from rs_course.checkpoints.prompts import FIELDS
from rs_course.superres import degradation
from rs_course.training import controlnet, diffusionsat, latent
from rs_course.training_loop import Budget


def test_the_start_is_the_generator_itself(sat_unet):
    network = controlnet.ControlNetDenoiser(sat_unet)
    x, t, states = torch.randn(2, 4, 16, 16), torch.tensor([10, 900]), torch.randn(2, 77, 32)
    metadata = torch.rand(2, 7) * 1000
    with torch.no_grad():
        alone = sat_unet(x, t, states, metadata=metadata).sample
        together = network(x, t, states, torch.rand(2, 3, 64, 64), metadata, metadata)
    assert torch.equal(alone, together)
    inside = network.controlnet.state_dict()
    for key in ("down_blocks.1.resnets.0.conv1.weight", "metadata_embedding.5.linear_1.weight"):
        assert torch.equal(inside[key], sat_unet.state_dict()[key])


def test_a_training_goes_on_from_a_controlnet(tmp_path, sat_unet):
    trained = controlnet.encoder_copy(sat_unet)
    with torch.no_grad():
        trained.controlnet_mid_block.bias += 1
    trained.save_pretrained(tmp_path)
    network = controlnet.encoder_copy(sat_unet)
    latent.begin_from(network, tmp_path, part="")
    for name, value in network.state_dict().items():
        assert torch.equal(value, trained.state_dict()[name]), name


def test_the_picture_is_the_tile_coarser_or_the_place_on_the_other_date(mapped_scenes, texts):
    place = torch.arange(12.0)[:, None, None, None].expand(12, 4, 16, 16)  # tells which tile was drawn
    x0, states, picture, metadata, cond_metadata = next(
        controlnet.batches(mapped_scenes, place, texts, 0, batch_size=40)(0)
    )
    tiles = torch.cat([torch.from_numpy(part) for part in mapped_scenes[:2]]).permute(0, 3, 1, 2) / 255
    drawn = x0[:, 0, 0, 0].long()
    other = (drawn + 6) % 12
    sharp = (picture == tiles[other]).all(dim=(1, 2, 3))
    assert torch.equal(picture[~sharp], controlnet.blurred(tiles[drawn[~sharp]]))
    assert 10 < sharp.sum() < 30
    known = diffusionsat.normalized([*mapped_scenes.metadata, *mapped_scenes.other_metadata])
    coarser = known[drawn].clone()
    coarser[:, list(FIELDS).index("gsd")] *= 4
    for rows, true in (
        (metadata, known[drawn]),
        (cond_metadata, torch.where(sharp[:, None], known[other], coarser)),
    ):
        torch.testing.assert_close(rows, torch.where(rows == 0, 0, true))
    # Captions speak of the first date only.
    assert (states[drawn >= 6] == 0).all() and (states[drawn < 6] != 0).any()


def test_the_engine_enlarges_a_coarse_picture_as_the_training_does(sat_unet):
    coarse = degradation.bicubic(torch.rand(2, 3, 64, 64))
    net = controlnet.ControlNetDenoiser(sat_unet).controlnet
    (seen,) = fit_conditions(net, [coarse], (16, 16))
    assert torch.equal(seen, resize(coarse, (64, 64))) and seen.shape == (2, 3, 64, 64)


def test_what_is_written_steers_the_generator(tmp_path, sat_unet, mapped_scenes, texts):
    from checkpoints.tiny import write_checkpoint

    base = write_checkpoint(tmp_path / "base")
    (tmp_path / "base" / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    sat_unet.save_pretrained(base / "unet")
    network, encoded = controlnet.ControlNetDenoiser(sat_unet), torch.randn(12, 4, 16, 16)

    batches = controlnet.batches(mapped_scenes, encoded, texts, 0, batch_size=4)

    def save(network, out):
        from rs_course.checkpoints.export import write_model

        write_model(network.controlnet, out, "controlnet")

    options = {
        "recipe": replace(latent.RECIPE, lr=1e-2),
        "sample_grid": controlnet.sharpened(mapped_scenes, base),
    }
    latent.fit(tmp_path / "net", network, batches, save, budget=Budget(steps=8), **options)
    assert list((tmp_path / "net" / "samples").glob("*.png"))
    generator = checkpoints.load(base, controlnet=tmp_path / "net")
    options = {"steps": 2, "guidance": 1, "size": (32, 32), "output": "latent"}
    dark, bright = (generator.sample("", image=torch.full((1, 3, 64, 64), v), **options) for v in (0.1, 0.9))
    assert (dark - bright).abs().max() > 1e-5
