"""Each form in which programs store weights, at each loader; and pipelines that are none of ours."""

import json
import shutil

import numpy as np
import pytest
import torch
from checkpoints.tiny import copy, write_checkpoint, write_controlnet, write_crsdiff
from safetensors.torch import load_file, save_file

from rs_course import checkpoints, superres
from rs_course.checkpoints.weights import find_weights, read_state_dict
from rs_course.superres.networks import SPAN

UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("doors") / "generator", "stable-diffusion")


@pytest.fixture
def own(folder, tmp_path):
    return copy(folder, tmp_path / "generator")


def state_of(file):
    """Tensors of their own: those of ``load_file`` are a map of the file, which is written again here."""
    return {key: value.clone() for key, value in load_file(file).items()}


def shard(file):
    """What ``save_pretrained(max_shard_size=…)`` makes of a file: two parts and their index."""
    state = state_of(file)
    keys, stem = sorted(state), file.name.removesuffix(".safetensors")
    where = {key: f"{stem}-0000{1 + (k % 2)}-of-00002.safetensors" for k, key in enumerate(keys)}
    for name in sorted(set(where.values())):
        save_file({key: state[key] for key in keys if where[key] == name}, file.parent / name)
    index = file.with_name(file.name + ".index.json")
    index.write_text(json.dumps({"metadata": {}, "weight_map": where}))
    file.unlink()
    return index


def test_every_part_may_lie_in_shards(own):
    before = checkpoints.load(own).sample("a lake", steps=1)
    indices = [shard(file) for file in sorted(own.glob("*/*.safetensors"))]
    assert len(indices) == 3 and torch.equal(checkpoints.load(own).sample("a lake", steps=1), before)
    first = json.loads(indices[0].read_text())
    (own / "unet" / "diffusion_pytorch_model-00002-of-00002.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of the 2 files .* lacks diffusion_pytorch_model-00002"):
        checkpoints.load(own)
    for file in ("../../other.safetensors", "a/b.safetensors", "..\\x"):
        indices[0].write_text(json.dumps({"weight_map": dict.fromkeys(first["weight_map"], file)}))
        with pytest.raises(ValueError, match="no file beside it"):
            find_and_read(indices[0].parent)
    indices[0].write_text('{"weight_map": 3}')
    with pytest.raises(ValueError, match="weight_map"):
        find_and_read(indices[0].parent)


def find_and_read(folder):
    stem = "model" if folder.name == "text_encoder" else "diffusion_pytorch_model"
    return read_state_dict(find_weights(folder, stem))


def test_shards_without_their_index(own):
    shard(own / UNET).unlink()
    with pytest.raises(FileNotFoundError, match="without the index"):
        checkpoints.load(own)


def test_a_controlnet_in_shards(folder, tmp_path):
    base = write_checkpoint(tmp_path / "base")
    net = write_controlnet(tmp_path / "net")
    before = checkpoints.load(base, controlnet=net).controlnet.state_dict()
    shard(net / "diffusion_pytorch_model.safetensors")
    after = checkpoints.load(base, controlnet=net).controlnet.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


WRAPPED = {
    "module.": lambda state: {f"module.{key}": value for key, value in state.items()},
    "_orig_mod.": lambda state: {f"_orig_mod.{key}": value for key, value in state.items()},
    "both": lambda state: {f"_orig_mod.module.{key}": value for key, value in state.items()},
    "lightning": lambda state: {"state_dict": {f"model.{key}": value for key, value in state.items()}},
    "moving average alone": lambda state: {"ema": state, "step": 3},
    "numpy number": lambda state: {"state_dict": state, "epoch": np.int64(3), "best": np.float64(0.5)},
    "old numpy number": lambda state: {
        "model_state_dict": state,
        "loss": np.float32(0.5),
        "key": np.array([1, 2]),
    },
    "numpy arrays": lambda state: {key: value.numpy() for key, value in state.items()},
    "trainer": lambda state: {"model": {"state_dict": state}, "args": __import__("argparse").Namespace(lr=1)},
}


@pytest.fixture(scope="module")
def doors(folder, tmp_path_factory):
    """By loader: where its weights lie, and how they are loaded."""
    root = tmp_path_factory.mktemp("weights")
    network = SPAN(8)
    save_file(network.state_dict(), root / "span.safetensors")
    base = write_checkpoint(root / "base")
    net = write_controlnet(root / "net")
    crsdiff = write_crsdiff(root / "crsdiff")
    weights = "diffusion_pytorch_model.safetensors"
    return {
        "unet": (folder / "unet" / weights, lambda: checkpoints.load(folder).unet),
        "vae": (folder / "vae" / weights, lambda: checkpoints.load(folder).vae),
        "text_encoder": (
            folder / "text_encoder" / "model.safetensors",
            lambda: checkpoints.load(folder).text_encoder,
        ),
        "controlnet": (net / weights, lambda: checkpoints.load(base, controlnet=net).controlnet),
        "local_adapter": (crsdiff / "local_adapter" / weights, lambda: checkpoints.load(crsdiff).controlnet),
        "superres": (root / "span.safetensors", None),
    }


@pytest.mark.parametrize("door", ["unet", "vae", "text_encoder", "controlnet", "local_adapter", "superres"])
def test_weights_as_programs_store_them(doors, door):
    file, load = doors[door]
    state = state_of(file)
    kept = file.read_bytes()
    other = file.with_suffix(".pt" if load is None else ".bin")
    load = load or (lambda: superres.load(other))
    try:
        expected = None
        for name, wrap in {"plain": dict, **WRAPPED}.items():
            file.unlink(missing_ok=True)
            torch.save(wrap({key: value.clone() for key, value in state.items()}), other)
            found = {key: value.clone() for key, value in load().state_dict().items()}
            expected = expected or found
            assert found.keys() == expected.keys(), name
            assert all(torch.equal(found[key], expected[key]) for key in found), name
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(other))
        with pytest.raises(ValueError, match="TorchScript archive") as caught:
            load()
        assert "weights_only" not in str(caught.value) and "again" not in str(caught.value)
        shutil.make_archive(str(other.with_suffix("")), "zip", file.parent)
        other.with_suffix(".zip").replace(other)
        with pytest.raises(ValueError, match=r"without PyTorch's data\.pkl: unpack it"):
            load()
    finally:
        other.unlink(missing_ok=True)
        file.write_bytes(kept)


def test_the_content_decides_and_not_the_ending(own):
    file = own / UNET
    state = state_of(file)
    torch.save(state, file)  # PyTorch's format under the name of safetensors
    assert checkpoints.load(own).family == "stable-diffusion"
    file.unlink()
    save_file(state, file.with_suffix(".bin"))
    assert checkpoints.load(own).family == "stable-diffusion"


@pytest.mark.parametrize(("length", "magic"), [(0x180, b"\x80"), (0x4B50, b"PK")], ids=["pickle", "zip"])
def test_a_header_whose_length_looks_like_another_format(tmp_path, length, magic):
    """safetensors begins with the length of its header; one in 32 has the first byte of a pickle."""
    file = tmp_path / "model.safetensors"
    save_file({"weight": torch.ones(2)}, file, {"note": ""})
    short = int.from_bytes(file.read_bytes()[:8], "little")
    save_file({"weight": torch.ones(2)}, file, {"note": "x" * (length - short)})
    assert file.read_bytes().startswith(magic)
    assert torch.equal(read_state_dict(file)["weight"], torch.ones(2))
    other = file.rename(tmp_path / "model.bin")
    assert torch.equal(read_state_dict(other)["weight"], torch.ones(2))


def test_numbers_beyond_float16_are_not_made_infinite(own):
    state = state_of(own / UNET)
    state["conv_in.weight"] *= 1e6
    save_file(state, own / UNET)
    with pytest.raises(ValueError, match=r"conv_in.weight has numbers beyond the range of float16"):
        checkpoints.load(own, dtype="float16")
    checkpoints.load(own, dtype="bfloat16")


def test_single_files_beside_a_pipeline(own):
    torch.save({"state_dict": {"model.diffusion_model.x": torch.zeros(1)}}, own / "v1-5-pruned-emaonly.ckpt")
    torch.save({"x": torch.zeros(1)}, own / "last.ckpt")
    assert checkpoints.load(own).family == "stable-diffusion"
    with pytest.raises(ValueError, match="Stable Diffusion in one file: give the folder"):
        checkpoints.load(own / "v1-5-pruned-emaonly.ckpt")
    with pytest.raises(ValueError, match=r"local_adapter\. Is it another checkpoint's file\?"):
        checkpoints.load(own / "last.ckpt")


def test_several_single_files(tmp_path):
    for name in ("a.ckpt", "b.ckpt"):
        torch.save({"x": torch.zeros(1)}, tmp_path / name)
    with pytest.raises(ValueError, match=r"several checkpoints \(a.ckpt, b.ckpt\): name the file"):
        checkpoints.load(tmp_path)


def edit(file, **changes):
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


FOREIGN = {
    "SDXL": ("second text encoder", lambda root: copy(root / "text_encoder", root / "text_encoder_2")),
    "SDXL refiner": (
        "addition_embed_type",
        lambda root: edit(root / "unet/config.json", addition_embed_type="text_time"),
    ),
    "depth": ("a depth map", lambda root: edit(root / "unet/config.json", in_channels=5)),
    "upscaler": ("an upscaler", lambda root: edit(root / "unet/config.json", in_channels=7)),
    "upscaler's labels": ("noise level", lambda root: edit(root / "unet/config.json", num_class_embeds=1000)),
    "instruct-pix2pix": ("a picture to edit", lambda root: edit(root / "unet/config.json", in_channels=8)),
    "LCM": ("guidance scale", lambda root: edit(root / "unet/config.json", time_cond_proj_dim=256)),
    "Kandinsky": (
        "Kandinsky",
        lambda root: edit(root / "unet/config.json", encoder_hid_dim_type="image_proj"),
    ),
    "SD3's VAE": ("shift_factor", lambda root: edit(root / "vae/config.json", shift_factor=0.0609)),
    "16 latent channels": ("input channels", lambda root: edit(root / "vae/config.json", latent_channels=16)),
    "VQ": ("VQModel", lambda root: edit(root / "vae/config.json", _class_name="VQModel")),
    "T5": ("t5, not CLIP", lambda root: edit(root / "text_encoder/config.json", model_type="t5")),
    "width": ("reads 64", lambda root: edit(root / "unet/config.json", cross_attention_dim=64)),
    "Flux": ("transformer instead", lambda root: (root / "unet").rename(root / "transformer")),
    "video": (
        "UNet3DConditionModel",
        lambda root: edit(root / "unet/config.json", _class_name="UNet3DConditionModel"),
    ),
}


@pytest.mark.parametrize(("message", "change"), FOREIGN.values(), ids=FOREIGN)
def test_pipelines_of_another_kind_are_named(own, message, change):
    change(own)
    with pytest.raises(ValueError, match=message) as caught:
        checkpoints.load(own)
    assert "\n" not in str(caught.value) and "again" not in str(caught.value)


def test_stable_diffusion_s_own_inpainting_is_read(tmp_path):
    root = write_checkpoint(tmp_path / "inpaint", "stable-diffusion", {"in_channels": 9})
    picture = torch.rand(1, 3, 16, 16)
    made = checkpoints.load(root).sample("a", image=picture, mask=torch.ones(1, 1, 16, 16), steps=1)
    assert made.shape == (1, 3, 16, 16)
