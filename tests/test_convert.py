"""``rs-course convert``: the written folder is the same generator, and plain diffusers opens it."""

import json
from pathlib import Path

import pytest
import torch
from checkpoints.golden import golden
from checkpoints.tiny import FAMILIES, write_checkpoint, write_controlnet
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import CLIPTextModel

from rs_course import checkpoints, cli
from rs_course.checkpoints.diffusionsat import SatUNet


def draw(generator, **arguments):
    return generator.sample("a field", steps=2, output="latent", **arguments)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_generator_comes_out(family, tmp_path, capsys):
    source = write_checkpoint(tmp_path / "source", family)
    assert cli.main(["convert", str(source), str(tmp_path / "clean")]) == 0
    assert f"({family})" in capsys.readouterr().out
    clean = checkpoints.load(tmp_path / "clean")
    assert clean.family == family
    original = checkpoints.load(source)
    assert torch.equal(draw(clean), draw(original))
    assert type(clean.scheduler) is type(original.scheduler)
    assert json.loads((tmp_path / "clean" / "card.json").read_text())["converted_from"] == original.card.hash
    assert not list(tmp_path.rglob("*.bin"))


def test_plain_diffusers_opens_it(tmp_path):
    folder = tmp_path / "clean"
    cli.main(["convert", str(write_checkpoint(tmp_path / "source", "stable-diffusion")), str(folder)])
    pipeline = StableDiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    want = pipeline("a", latents=x, num_inference_steps=2, output_type="latent", height=16, width=16).images
    got = checkpoints.load(folder).sample("a", latents=x, steps=2, guidance=7.5, output="latent")
    assert torch.allclose(got, want, atol=1e-4)


def test_diffusers_opens_diffusionsat_when_given_the_unet(tmp_path):
    folder = tmp_path / "clean"
    cli.main(["convert", str(write_checkpoint(tmp_path / "source", "diffusionsat")), str(folder)])
    unet = SatUNet.from_pretrained(folder, subfolder="unet")
    pipeline = StableDiffusionPipeline.from_pretrained(folder, unet=unet)
    assert pipeline.unet is unet and unet.config.num_metadata == 7
    generator = checkpoints.load(folder)
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    text = torch.zeros(1, 77, 32)
    with torch.no_grad():
        assert torch.allclose(unet(x, 5, text).sample, generator.unet(x, 5, text).sample, atol=1e-5)


def test_crsdiff_is_taken_apart(tmp_path):
    """The Stable Diffusion parts open one by one; the whole samples as before."""
    fixture = golden("crsdiff")
    folder = tmp_path / "clean"
    cli.main(["convert", str(fixture.folder), str(folder)])
    for model, part in (
        (UNet2DConditionModel, "unet"),
        (AutoencoderKL, "vae"),
        (CLIPTextModel, "text_encoder"),
    ):
        model.from_pretrained(folder / part)
    DDIMScheduler.from_pretrained(folder / "scheduler")
    original, clean = checkpoints.load(fixture.folder), checkpoints.load(folder)
    assert clean.family == "crsdiff"
    road = fixture["single/road_uint8"]
    arguments = {"conditions": {"road": road}, "metadata": {"year": 2016}}
    want = draw(original, **arguments)
    assert (draw(clean, **arguments) - want).abs().max() < 1e-5 * want.abs().max()
    assert [type(part).__name__ for part in (clean.scheduler, clean.controlnet)] == [
        "CRSDiffScheduler",
        "LocalAdapter",
    ]


@pytest.mark.parametrize("temporal", [False, True])
def test_controlnet_alone_and_with_its_generator(temporal, tmp_path):
    config = {"use_temporal_transformer": True, "block_out_channels": [32, 32]} if temporal else {}
    net = write_controlnet(tmp_path / "nets" / "controlnet", temporal=temporal, **config)
    source = write_checkpoint(tmp_path / "source", unet=config and {"block_out_channels": [32, 32]})
    assert cli.main(["convert", str(net), str(tmp_path / "net")]) == 0
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    want = draw(checkpoints.load(source, controlnet=net), image=picture)
    assert torch.equal(draw(checkpoints.load(source, controlnet=tmp_path / "net"), image=picture), want)
    from rs_course.checkpoints.export import write_checkpoint as write

    write(checkpoints.load(source, controlnet=net), tmp_path / "both")
    assert torch.equal(draw(checkpoints.load(tmp_path / "both"), image=picture), want)


def test_half_precision_halves_the_files(tmp_path):
    source = write_checkpoint(tmp_path / "source")
    cli.main(["convert", str(source), str(tmp_path / "half"), "--dtype", "float16"])
    weights = load_file(tmp_path / "half" / "unet" / "diffusion_pytorch_model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float16}


def test_nothing_is_overwritten_and_nothing_half_written_stays(tmp_path, capsys, monkeypatch):
    source = write_checkpoint(tmp_path / "source")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    assert cli.main(["convert", str(source), str(tmp_path / "full")]) == 1
    assert "is there already" in capsys.readouterr().err
    monkeypatch.setattr(
        "safetensors.torch.save_file", lambda *a, **k: (_ for _ in ()).throw(OSError("disk full"))
    )
    assert cli.main(["convert", str(source), str(tmp_path / "new")]) == 1
    assert "disk full" in capsys.readouterr().err
    assert sorted(path.name for path in Path(tmp_path).iterdir()) == ["full", "source"]
