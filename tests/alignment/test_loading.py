"""Where scorers come from, and one sentence for everything that can be missing."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from rs_course import alignment
from rs_course.alignment.preparation import Preparation, resize


@pytest.fixture
def copy(clip, tmp_path):
    """A copy of the tiny CLIP folder that a test may damage."""
    return shutil.copytree(clip[0], tmp_path / "copy")


def test_vocab_and_merges_do_as_well_as_tokenizer_json(copy, clip, scorer, images, texts):
    vocabulary = clip[2].get_vocab()
    (copy / "tokenizer.json").unlink()
    (copy / "vocab.json").write_text(json.dumps(vocabulary))
    (copy / "merges.txt").write_text("#version: 0.2\n")
    again = alignment.load(copy, device="cpu", cache=False)
    torch.testing.assert_close(again.similarity(images, texts), scorer.similarity(images, texts))


def test_the_image_settings_of_transformers_5_are_read(copy, scorer, images, texts):
    file = copy / "preprocessor_config.json"
    settings = json.loads(file.read_text())
    file.unlink()
    (copy / "processor_config.json").write_text(json.dumps({"image_processor": settings}))
    again = alignment.load(copy, device="cpu", cache=False)
    torch.testing.assert_close(again.similarity(images, texts), scorer.similarity(images, texts))


def test_half_precision_weights_are_scored_in_float32(copy, clip, images, texts):
    clip[1].__class__.from_pretrained(copy).half().save_pretrained(copy)
    half = alignment.load(copy, device="cpu", cache=False)
    assert next(half.model.parameters()).dtype == torch.float32
    assert half.similarity(images, texts).dtype == torch.float32


def test_siglips_own_tokenizer_is_read_without_sentencepiece(siglip, tmp_path, images):
    """Its class is named in tokenizer_config.json; the text is brought to lower case without punctuation."""
    folder = shutil.copytree(siglip[0], tmp_path / "siglip")
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"tokenizer_class": "SiglipTokenizer"}))
    scorer = alignment.load(folder, device="cpu", cache=False)
    first, second = scorer.text_embeddings(["A River,  of (the) road!", "a river of the road"])
    torch.testing.assert_close(first, second)
    plain = alignment.load(siglip[0], device="cpu", cache=False)
    torch.testing.assert_close(first, plain.text_embeddings(["a river of the road"])[0])


@pytest.mark.parametrize(
    ("file", "error", "words"),
    [
        ("config.json", FileNotFoundError, "model.safetensors"),
        ("model.safetensors", FileNotFoundError, "has no weights"),
        ("tokenizer.json", FileNotFoundError, "has no tokenizer.json, nor vocab.json with merges.txt"),
        ("preprocessor_config.json", FileNotFoundError, "has no preprocessor_config.json"),
    ],
)
def test_a_missing_file_is_named(copy, file, error, words):
    (copy / file).unlink()
    if file == "config.json":  # without it the folder is taken for OpenCLIP's, whose tensors have other names
        error, words = ValueError, "for weights of transformers give the folder with config.json"
    with pytest.raises(error, match=words):
        alignment.load(copy)


def test_a_folder_of_another_model_is_named(copy):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    with pytest.raises(ValueError, match="type 'bert', which does not score image-text pairs"):
        alignment.load(copy)


def test_damaged_files_are_named(copy):
    (copy / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match=r"tokenizer in .* cannot be read"):
        alignment.load(copy)


def test_missing_weights_are_not_filled_with_random_ones(copy, clip):
    from safetensors.torch import load_file, save_file

    state = load_file(copy / "model.safetensors")
    state.pop("text_projection.weight")
    save_file(state, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lack text_projection.weight"):
        alignment.load(copy)


def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(FileNotFoundError, match=r"There is no scorer 'clipp'.*remoteclip-vit-b-32"):
        alignment.load("clipp")


def test_a_published_scorer_that_is_not_here_says_how_to_fetch_it(tmp_path, monkeypatch):
    monkeypatch.setenv("RS_COURSE_CACHE", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="rs-course fetch remoteclip-vit-b-32"):
        alignment.load("remoteclip-vit-b-32")


def test_open_clip_weights_without_tokenizer_say_where_it_goes(tmp_path, clip, monkeypatch):
    from .test_open_clip import open_clip_names

    monkeypatch.setenv("RS_COURSE_CACHE", str(tmp_path / "nothing"))
    torch.save(open_clip_names(clip[1]), tmp_path / "weights.pt")
    with pytest.raises(FileNotFoundError, match="has weights but no tokenizer"):
        alignment.load(tmp_path / "weights.pt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"has no config\.json and no weights"):
        alignment.load(tmp_path / "empty")


def test_wrong_settings_are_named(clip):
    with pytest.raises(ValueError, match="long_captions='shorten': choose one of"):
        alignment.load(clip[0], long_captions="shorten")
    with pytest.raises(ValueError, match="batch_size=0"):
        alignment.load(clip[0], batch_size=0)


def test_importing_the_package_is_light():
    import subprocess
    import sys

    code = (
        "import sys, rs_course.alignment; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("wrap", ["module.", "numbers", "shards"])
def test_weights_as_programs_store_them(clip, tmp_path, images, texts, wrap):
    import numpy as np
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "clip"
    shutil.copytree(clip[0], folder)
    expected = alignment.load(folder, cache=False).similarity(images, texts)
    state = {key: value.clone() for key, value in load_file(folder / "model.safetensors").items()}
    (folder / "model.safetensors").unlink()
    if wrap == "module.":
        torch.save({f"module.{key}": value for key, value in state.items()}, folder / "pytorch_model.bin")
    elif wrap == "numbers":
        torch.save({"epoch": np.int64(3), "state_dict": state}, folder / "pytorch_model.bin")
    else:
        where = {key: f"model-{k % 2}.safetensors" for k, key in enumerate(sorted(state))}
        for name in set(where.values()):
            save_file({key: state[key] for key in state if where[key] == name}, folder / name)
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    assert torch.equal(alignment.load(folder, cache=False).similarity(images, texts), expected)


def test_a_torchscript_archive_is_named(clip, tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(tmp_path / "ViT-B-32.pt"))
    with pytest.raises(ValueError, match="TorchScript archive") as caught:
        alignment.load(tmp_path / "ViT-B-32.pt", tokenizer=clip[0], cache=False)
    assert "again" not in str(caught.value) and "weights_only" not in str(caught.value)


@pytest.mark.parametrize("naflex", [False, True])
def test_siglip_2_reads_lower_case_whatever_its_size(tmp_path, naflex):
    """Its repositories name Gemma's tokenizer, which keeps capitals, and the type siglip at fixed sizes."""
    from alignment.conftest import build_siglip

    build_siglip(tmp_path, naflex=naflex)
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    content["normalizer"] = None
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    named = {} if naflex else {"tokenizer_class": "PreTrainedTokenizerFast"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**settings, **named}))
    upper, lower = alignment.load(tmp_path, cache=False).text_embeddings(["A River", "a river"])
    assert torch.equal(upper, lower)
    other = alignment.load(tmp_path, cache=False).text_embeddings(["a road"])[0]
    assert not torch.equal(other, lower)


@pytest.mark.parametrize(("mode", "filter_"), [("bicubic", Image.BICUBIC), ("bilinear", Image.BILINEAR)])
@pytest.mark.parametrize("size", [(224, 224), (24, 18), (64, 200), (7, 48), (1, 1), (96, 96), (90, 20)])
def test_resize_equals_pillow_bit_for_bit(mode, filter_, size):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 48, 3), np.uint8)
    theirs = np.asarray(Image.fromarray(pixels).resize(size[::-1], filter_))
    ours = resize(torch.from_numpy(pixels).permute(2, 0, 1)[None], size, mode)[0]
    np.testing.assert_array_equal(ours.permute(1, 2, 0).numpy(), theirs)


@pytest.mark.parametrize("shape", [(40, 64), (64, 40), (32, 32)])
def test_clip_preparation_equals_its_processor(clip, shape):
    from transformers import CLIPImageProcessorPil

    pixels = torch.randint(0, 256, (1, 3, *shape), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    processor = CLIPImageProcessorPil.from_pretrained(clip[0])
    theirs = processor(list(pixels), return_tensors="pt")["pixel_values"]
    settings = {
        "size": {"shortest_edge": 32},
        "crop_size": {"height": 32, "width": 32},
        "image_mean": processor.image_mean,
        "image_std": processor.image_std,
    }
    ours = Preparation.from_config(settings, "test")(pixels)["pixel_values"]
    assert ours.shape == theirs.shape == (1, 3, 32, 32)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_settings_that_are_not_understood_are_named():
    good = {"size": 32, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    assert Preparation.from_config(good, "x").size == 32
    assert Preparation.from_config(good | {"do_resize": False}, "x").size is None
    for broken in (good | {"resample": 1}, good | {"size": {"longest_edge": 3}}, {"size": 32}):
        with pytest.raises(ValueError, match="image settings in x are not understood"):
            Preparation.from_config(broken, "x")


def test_a_crop_larger_than_the_image_is_named():
    crop = Preparation(size=None, crop=(32, 32), mean=(0.0,) * 3, std=(1.0,) * 3)
    with pytest.raises(ValueError, match="crops 32×32 pixels out of images that are 16×40"):
        crop(torch.zeros(1, 3, 16, 40, dtype=torch.uint8))
