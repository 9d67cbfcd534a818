"""Layouts on disk, and what happens when files are not what they should be."""

import json
import os
import pickle
import shutil

import psutil
import pytest
import torch
from checkpoints.tiny import copy, write_checkpoint, write_controlnet
from safetensors.torch import load_file, save_file

from rs_course import checkpoints
from rs_course.checkpoints.weights import read_state_dict


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("tiny") / "generator")


@pytest.fixture(scope="module")
def reference(folder):
    return draw(checkpoints.load(folder))


def draw(generator, **arguments):
    return generator.sample("a field", steps=2, output="latent", **arguments)


def test_family_of_each_layout(tmp_path):
    for family in ("stable-diffusion", "diffusionsat", "text2earth", "text2earth-inpainting"):
        generator = checkpoints.load(write_checkpoint(tmp_path / family, family))
        assert generator.family == family and generator.controlnet is None
        assert generator.vae_factor == 2 and generator.default_size == (16, 16)


def test_the_folder_around_it(folder, reference):
    assert torch.equal(draw(checkpoints.load(folder.parent)), reference)
    assert torch.equal(draw(checkpoints.load(str(folder))), reference)


def test_bin_files(folder, reference, tmp_path):
    other = copy(folder, tmp_path / "bin")
    for part, stem in (
        ("unet", "diffusion_pytorch_model"),
        ("vae", "diffusion_pytorch_model"),
        ("text_encoder", "model"),
    ):
        file = other / part / f"{stem}.safetensors"
        new = {"model": "pytorch_model.bin"}.get(stem, f"{stem}.bin")
        torch.save(load_file(file), other / part / new)
        file.unlink()
    assert torch.equal(draw(checkpoints.load(other)), reference)


def test_training_run_with_checkpoints(folder, reference, tmp_path):
    """The UNet of a run lies in checkpoint-N/unet; the moving average is taken where it is named."""
    run = copy(folder, tmp_path / "run")
    weights = load_file(run / "unet" / "diffusion_pytorch_model.safetensors")
    config = (run / "unet" / "config.json").read_text()
    shutil.rmtree(run / "unet")
    for number, name, factor in ((9, "unet", 0.5), (100, "unet", 1.0), (100, "unet_ema", 2.0)):
        part = run / f"checkpoint-{number}" / name
        part.mkdir(parents=True)
        (part / "config.json").write_text(json.dumps({**json.loads(config), "decay": 0.9999}))
        scaled = {
            key: value * factor if key == "conv_out.weight" else value for key, value in weights.items()
        }
        torch.save(scaled, part / "diffusion_pytorch_model.bin")
    assert torch.equal(draw(checkpoints.load(run)), reference)
    assert torch.equal(draw(checkpoints.load(run / "checkpoint-100")), reference)
    named = {
        name: checkpoints.load(run / name).unet.conv_out.weight
        for name in ("checkpoint-100/unet_ema", "checkpoint-9/unet")
    }
    original = weights["conv_out.weight"]
    assert torch.equal(named["checkpoint-100/unet_ema"], 2 * original)
    assert torch.equal(named["checkpoint-9/unet"], original / 2)


def test_old_key_names(folder, reference, tmp_path):
    old = copy(folder, tmp_path / "old")
    file = old / "vae" / "diffusion_pytorch_model.safetensors"
    before = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    renamed = {}
    for key, value in load_file(file).items():
        for new, name in before.items():
            key = key.replace(f"attentions.0.{new}.", f"attentions.0.{name}.")
        renamed[key] = value[:, :, None, None] if ".attentions." in key and value.ndim == 2 else value
    assert any("proj_attn" in key for key in renamed)
    save_file(renamed, file)
    file = old / "text_encoder" / "model.safetensors"
    named = {f"text_model.{key}": value for key, value in load_file(file).items()}
    save_file({**named, "text_model.embeddings.position_ids": torch.arange(77)[None]}, file)
    assert torch.equal(draw(checkpoints.load(old)), reference)


def test_half_precision_files_are_read_as_float32(folder, tmp_path):
    half = copy(folder, tmp_path / "half")
    file = half / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({key: value.half() for key, value in load_file(file).items()}, file)
    assert checkpoints.load(half).unet.dtype == torch.float32
    assert checkpoints.load(half, dtype=torch.float16).unet.dtype == torch.float16


def test_shared_parts(folder, reference, tmp_path):
    """A mini names the folders of parts that it shares with others; the text tower may sit in a whole CLIP
    model.
    """
    other = copy(folder, tmp_path / "generator")
    for part, name in (("vae", "mini-vae"), ("text_encoder", "mini-clip")):
        shutil.move(other / part, tmp_path / name)
    shutil.move(other / "tokenizer", tmp_path / "words")
    clip = tmp_path / "mini-clip"
    config = json.loads((clip / "config.json").read_text())
    tower = {
        "image_size": 8,
        "patch_size": 4,
        "hidden_size": 8,
        "num_attention_heads": 2,
        "num_hidden_layers": 1,
    }
    (clip / "config.json").write_text(
        json.dumps(
            {"model_type": "clip", "text_config": config, "vision_config": tower, "projection_dim": 16}
        )
    )
    weights = {f"text_model.{key}": value for key, value in load_file(clip / "model.safetensors").items()}
    save_file({**weights, "logit_scale": torch.zeros(())}, clip / "model.safetensors")
    index = json.loads((other / "model_index.json").read_text())
    index["_shared_parts"] = {"vae": "../mini-vae", "text_encoder": "../mini-clip", "tokenizer": "../words"}
    (other / "model_index.json").write_text(json.dumps(index))
    assert torch.equal(draw(checkpoints.load(other)), reference)


def test_card_and_recommended_settings(folder, tmp_path):
    other = copy(folder, tmp_path / "generator")
    stated = {"source": "made here", "licence": "MIT", "training_data": "none"}
    (other / "card.json").write_text(
        json.dumps({**stated, "settings": {"steps": 3, "guidance": 1.0, "size": [8, 16]}})
    )
    generator = checkpoints.load(other)
    assert {key: generator.card[key] for key in stated} == stated
    assert generator.sample("a").shape == (1, 3, 8, 16)
    assert torch.equal(generator.sample("a"), generator.sample("a", steps=3, guidance=1.0))
    assert generator.card.hash == checkpoints.load(other).card.hash != "" and len(generator.card.hash) == 64
    save_file({"x": torch.zeros(1)}, other / "unet" / "diffusion_pytorch_model.safetensors")
    assert len({generator.card.hash, checkpoints.checkpoint.Card("", "", "", generator.card.files).hash}) == 2


def test_controlnet_folders(folder, tmp_path):
    """A net, the folder around it, a run's last one, and a pipeline's own; several add up."""
    net = write_controlnet(tmp_path / "nets" / "controlnet")
    other = write_controlnet(tmp_path / "nets" / "controlnet_1", conditioning_in_channels=3)
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    one = draw(checkpoints.load(folder, controlnet=net), image=picture)
    assert one.shape == (1, 4, 8, 8)
    run = copy(net, tmp_path / "run" / "checkpoint-20" / "controlnet").parents[1]
    assert torch.equal(draw(checkpoints.load(folder, controlnet=run), image=picture), one)
    whole = copy(folder, tmp_path / "whole")
    copy(net, whole / "controlnet")
    assert torch.equal(draw(checkpoints.load(whole), image=picture), one)
    both = checkpoints.load(folder, controlnet=[net, other])
    pair = draw(both, image=[picture, picture])
    assert torch.equal(
        draw(checkpoints.load(folder, controlnet=tmp_path / "nets"), image=[picture, picture]), pair
    )
    silent = draw(both, image=[picture, picture], control_strength=[1.0, 0.0])
    assert torch.allclose(silent, one, atol=1e-5)
    for message, image in {"image= is needed": None, "one per net": [picture]}.items():
        with pytest.raises(ValueError, match=message):
            draw(both, image=image)


# ---- damage ----


def damaged(folder, tmp_path, part, change):
    other = copy(folder, tmp_path / "generator")
    change(next(file for file in (other / part).iterdir() if file.suffix == ".safetensors"))
    return other


def truncate(file):
    os.truncate(file, file.stat().st_size // 2)


DAMAGE = {
    "the download is incomplete": truncate,
    "is not a complete safetensors file": lambda file: os.truncate(file, 5),
    "is a Git LFS pointer": lambda file: file.write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0"
    ),
    "is a web page": lambda file: file.write_text("<!DOCTYPE html><html>Sign in</html>"),
    "has no weights": lambda file: file.unlink(),
    "it lacks conv_in.weight": lambda file: drop(file, "conv_in.weight"),
    "it has made_up.weight, which": lambda file: add(file, "made_up.weight", torch.zeros(1)),
    r"it has conv_in.weight \[3\] instead of \[16, 4, 3, 3\]": lambda file: add(
        file, "conv_in.weight", torch.zeros(3)
    ),
}


def drop(file, key):
    state = load_file(file)
    del state[key]
    save_file(state, file)


def add(file, key, value):
    save_file({**load_file(file), key: value}, file)


@pytest.mark.parametrize("message", DAMAGE)
def test_damaged_weights_are_named(folder, tmp_path, message):
    other = damaged(folder, tmp_path, "unet", DAMAGE[message])
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        checkpoints.load(other)
    assert "\n" not in str(caught.value)


class Attack:
    def __reduce__(self):
        return os.system, ("touch attacked",)


def test_a_pickle_that_runs_code_is_refused(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other = damaged(folder, tmp_path, "unet", lambda file: file.unlink())
    file = other / "unet" / "diffusion_pytorch_model.bin"
    torch.save({"conv_in.weight": torch.zeros(1), "extra": Attack()}, file)
    with pytest.raises(ValueError, match="asks for code to be run when it is opened, so it was refused"):
        checkpoints.load(other)
    single = tmp_path / "last.ckpt"
    torch.save({"state_dict": {"x": torch.zeros(1)}, "callbacks": Attack()}, single)
    with pytest.raises(ValueError, match="refused"):
        checkpoints.load(single)
    single.write_bytes(pickle.dumps(Attack(), protocol=2))
    with pytest.raises(ValueError, match="refused"):
        checkpoints.load(single)
    assert not (tmp_path / "attacked").exists()


def test_bookkeeping_of_a_training_framework_is_ignored(tmp_path, monkeypatch):
    """Lightning pickles its callbacks beside the weights; they are neither imported nor needed."""
    import sys
    import types

    module = types.ModuleType("pytorch_lightning.callbacks")
    module.Checkpoint = type("Checkpoint", (), {"__module__": module.__name__})
    module.Checkpoint.__qualname__ = "Checkpoint"
    monkeypatch.setitem(sys.modules, "pytorch_lightning", types.ModuleType("pytorch_lightning"))
    monkeypatch.setitem(sys.modules, "pytorch_lightning.callbacks", module)
    state = module.Checkpoint()
    state.best = 3
    file = tmp_path / "last.ckpt"
    torch.save({"state_dict": {"x": torch.ones(2)}, "callbacks": {module.Checkpoint: state}}, file)
    monkeypatch.delitem(sys.modules, "pytorch_lightning.callbacks")
    monkeypatch.delitem(sys.modules, "pytorch_lightning")
    assert torch.equal(read_state_dict(file)["x"], torch.ones(2))


def test_half_a_ckpt(tmp_path):
    file = tmp_path / "last.ckpt"
    torch.save({"state_dict": {"x": torch.ones(1000)}}, file)
    truncate(file)
    with pytest.raises(ValueError, match="ends too early"):
        checkpoints.load(file)
    file.write_bytes(b"hello world")
    with pytest.raises(ValueError, match="is not a PyTorch file"):
        checkpoints.load(file)


def test_another_file_under_the_name(tmp_path):
    torch.save({"state_dict": {"model.diffusion_model.x": torch.ones(1)}}, tmp_path / "last.ckpt")
    with pytest.raises(ValueError, match="holds no CRS-Diff"):
        checkpoints.load(tmp_path)


def test_incomplete_folders(folder, tmp_path):
    other = copy(folder, tmp_path / "generator")
    shutil.rmtree(other / "vae")
    shutil.rmtree(other / "tokenizer")
    with pytest.raises(
        FileNotFoundError, match=r"has no vae, tokenizer \(it holds unet, text_encoder, scheduler\)"
    ):
        checkpoints.load(other)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        checkpoints.load(tmp_path / "empty")
    with pytest.raises(
        FileNotFoundError, match=r"There is no checkpoint 'diffusionsat-257'.*diffusionsat-256"
    ):
        checkpoints.load("diffusionsat-257")
    net = write_controlnet(tmp_path / "pipeline" / "controlnet").parent
    (net / "model_index.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="pass this one as controlnet="):
        checkpoints.load(net)
    run = copy(net / "controlnet", tmp_path / "run" / "checkpoint-5" / "controlnet").parents[1]
    with pytest.raises(FileNotFoundError, match="holds a ControlNet but no generator"):
        checkpoints.load(run)
    with pytest.raises(FileNotFoundError, match="There is no ControlNet in"):
        checkpoints.load(folder, controlnet=folder)
    (other / "unet" / "config.json").write_text("{half")
    shutil.copytree(folder / "vae", other / "vae")
    shutil.copytree(folder / "tokenizer", other / "tokenizer")
    with pytest.raises(ValueError, match="is not valid JSON"):
        checkpoints.load(other)


def test_several_checkpoints_in_a_folder(folder, tmp_path):
    for name in ("a", "b"):
        copy(folder, tmp_path / name)
    with pytest.raises(ValueError, match=r"holds several checkpoints \(a, b\)"):
        checkpoints.load(tmp_path)


def test_a_generator_that_was_not_fetched():
    with pytest.raises(FileNotFoundError, match="rs-course fetch diffusionsat-512"):
        checkpoints.load("diffusionsat-512")


def test_devices_and_types(folder):
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="no usable NVIDIA GPU"):
            checkpoints.load(folder, device="cuda")
    with pytest.raises(ValueError, match="'gpu' is no device"):
        checkpoints.load(folder, device="gpu")
    for wrong in ("float31", torch.int8):
        with pytest.raises(ValueError, match="is no floating type"):
            checkpoints.load(folder, dtype=wrong)


def test_too_little_memory(folder, monkeypatch):
    memory = psutil.virtual_memory()._replace(available=1000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    with pytest.raises(RuntimeError, match=r"GiB of weights, but 0.0 GiB are free"):
        checkpoints.load(folder)


def test_controlnet_for_another_family(tmp_path):
    generator = write_checkpoint(tmp_path / "sd", "stable-diffusion")
    with pytest.raises(ValueError, match="which takes no ControlNet"):
        checkpoints.load(generator, controlnet=write_controlnet(tmp_path / "net"))
