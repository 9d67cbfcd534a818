"""Weights that are not those of the card, and checkpoints that do not exist: refused in one sentence."""

import json
import os

import pytest
import torch
from checkpoints.tiny import copy, write_checkpoint
from safetensors.torch import load_file, save_file

from rs_course import checkpoints
from rs_course.checkpoints.checkpoint import write_card
from rs_course.files import sha256

STATED = {"source": "made here", "licence": "MIT", "training_data": "none"}
UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    written = write_checkpoint(tmp_path_factory.mktemp("card") / "generator")
    write_card(written, **STATED, settings={"steps": 2, "guidance": 1.0, "sampler": "euler"})
    return written


@pytest.fixture
def own(folder, tmp_path):
    return copy(folder, tmp_path / "generator")


def refusal(folder, kind=ValueError) -> str:
    with pytest.raises(kind) as caught:
        checkpoints.load(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_card_lists_every_weight_file_with_its_hash(folder):
    card = json.loads((folder / "card.json").read_text())
    files = {str(file.relative_to(folder)): sha256(file) for file in folder.rglob("*.safetensors")}
    assert card["files"] == files and len(files) == 3
    generator = checkpoints.load(folder)
    assert {key: generator.card[key] for key in STATED} == STATED
    assert torch.equal(generator.sample("a"), generator.sample("a", steps=2, guidance=1.0, sampler="euler"))


def test_one_changed_number_is_noticed(own):
    file = own / UNET
    state = load_file(file)
    state["conv_out.bias"][0] += 1e-3
    save_file(state, file, metadata={"format": "pt"})
    assert "is not the file that" in refusal(own) and str(file) in refusal(own)


def test_half_a_file_is_noticed(own):
    os.truncate(own / UNET, (own / UNET).stat().st_size // 2)
    assert "changed or damaged" in refusal(own)


def test_a_file_beside_the_listed_ones_is_not_taken(own):
    """The fp16 name is read where the plain one is missing, so it must not slip past the list."""
    (own / UNET).rename(own / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    assert "is not among the weights that" in refusal(own)
    (own / "unet" / "diffusion_pytorch_model.fp16.safetensors").unlink()
    torch.save({}, own / "unet" / "diffusion_pytorch_model.bin")
    assert "is not among the weights that" in refusal(own)


def test_shared_parts_are_on_the_card(own):
    (own / "vae").rename(own.parent / "mini-vae")
    index = json.loads((own / "model_index.json").read_text())
    (own / "model_index.json").write_text(json.dumps({**index, "_shared_parts": {"vae": "../mini-vae"}}))
    assert "is not among the weights that" in refusal(own)
    write_card(own, **STATED)
    checkpoints.load(own)
    save_file({"x": torch.zeros(1)}, own.parent / "mini-vae" / "diffusion_pytorch_model.safetensors")
    assert "mini-vae" in refusal(own)


def test_the_hash_tells_weights_not_places(own, monkeypatch):
    hashes = {checkpoints.load(own).card.hash}
    monkeypatch.chdir(own.parent)
    hashes.add(checkpoints.load(own.name).card.hash)
    moved = own.rename(own.parent / "a")
    hashes.add(checkpoints.load(moved).card.hash)
    assert len(hashes) == 1


def test_a_card_needs_weights(tmp_path):
    with pytest.raises(FileNotFoundError, match="write the weights before the card"):
        write_card(tmp_path, **STATED)


def test_names_that_nobody_knows(tmp_path):
    for name in ("mini-diffusionsat-3", str(tmp_path / "nowhere")):
        assert "There is no checkpoint" in refusal(name, FileNotFoundError)


@pytest.mark.parametrize("path", ["/etc", "../..", "../../elsewhere/vae", "..", 3])
def test_a_shared_part_lies_beside_the_checkpoint(own, path):
    index = own / "model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "_shared_parts": {"vae": path}}))
    assert f"takes its vae from {path!r}" in refusal(own)


@pytest.mark.parametrize("files", [["a"], "a", {"unet": 3}])
def test_a_card_without_hashes_is_damaged(own, files):
    (own / "card.json").write_text(json.dumps({**STATED, "files": files}))
    assert "does not list its files with their SHA-256" in refusal(own)
