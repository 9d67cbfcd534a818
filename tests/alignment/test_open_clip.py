"""OpenCLIP's state dicts: names mapped back by hand, and the real package where it is installed."""

import re

import pytest
import torch
from safetensors.torch import save_file

from rs_course import alignment
from rs_course.alignment.loading import to_transformers


def open_clip_names(model):
    """A CLIPModel's weights under OpenCLIP's names: the inverse of what the loader does."""
    state, result = model.state_dict(), {}
    for key, value in state.items():
        if key.endswith(("q_proj.weight", "q_proj.bias")):
            value = torch.cat([state[key.replace("q_proj", f"{letter}_proj")] for letter in "qkv"])
        elif re.search(r"\.[kv]_proj\.", key):
            continue
        name = key
        for theirs, ours in (
            ("vision_model.encoder.layers", "visual.transformer.resblocks"),
            ("text_model.encoder.layers", "transformer.resblocks"),
            ("self_attn.q_proj.", "attn.in_proj_"),
            ("self_attn.out_proj", "attn.out_proj"),
            ("layer_norm1", "ln_1"),
            ("layer_norm2", "ln_2"),
            ("mlp.fc1", "mlp.c_fc"),
            ("mlp.fc2", "mlp.c_proj"),
            ("vision_model.pre_layrnorm", "visual.ln_pre"),
            ("vision_model.post_layernorm", "visual.ln_post"),
            ("vision_model.embeddings.class_embedding", "visual.class_embedding"),
            ("vision_model.embeddings.patch_embedding.weight", "visual.conv1.weight"),
            ("vision_model.embeddings.position_embedding.weight", "visual.positional_embedding"),
            ("text_model.embeddings.token_embedding", "token_embedding"),
            ("text_model.embeddings.position_embedding.weight", "positional_embedding"),
            ("text_model.final_layer_norm", "ln_final"),
            ("visual_projection.weight", "visual.proj"),
            ("text_projection.weight", "text_projection"),
        ):
            name = name.replace(theirs, ours)
        result[name] = (
            value.T.contiguous() if name in ("visual.proj", "text_projection") else value.contiguous()
        )
    return result


@pytest.fixture
def gelu_clip(tmp_path):
    """A tiny CLIP of one head per 8 features, so that heads have to be read from the settings."""
    from .conftest import build_clip

    folder = tmp_path / "transformers"
    folder.mkdir()
    return folder, *build_clip(folder)


@pytest.mark.parametrize("layout", ["pt", "safetensors", "training checkpoint", "text tower apart"])
def test_open_clip_files_give_the_same_scores(gelu_clip, tmp_path, images, texts, layout):
    folder, model, tokenizer = gelu_clip
    state = open_clip_names(model)
    place = tmp_path / "open_clip"
    place.mkdir()
    tokenizer.save_pretrained(place)
    # Heads of 8 instead of the 64 of OpenCLIP's models: their repositories say such things in this file.
    settings = (
        '{"model_cfg": {"quick_gelu": true, "vision_cfg": {"head_width": 8}, "text_cfg": {"heads": 2}}}'
    )
    (place / "open_clip_config.json").write_text(settings)
    if layout == "safetensors":
        save_file(state, place / "open_clip_model.safetensors")
    else:
        if layout == "training checkpoint":
            state = {"epoch": 3, "state_dict": {f"module.{key}": value for key, value in state.items()}}
        elif layout == "text tower apart":
            text = re.compile("token_embedding|positional_embedding|transformer|ln_final|text_projection")
            state = {f"text.{key}" if text.match(key) else key: value for key, value in state.items()}
        torch.save(state, place / "weights.pt")
    reference = alignment.load(folder, device="cpu", cache=False)
    scorer = alignment.load(place, device="cpu", cache=False)
    torch.testing.assert_close(scorer.similarity(images, texts), reference.similarity(images, texts))


def test_the_activation_matters(gelu_clip, tmp_path, images, texts):
    _, model, tokenizer = gelu_clip
    file = tmp_path / "weights.pt"
    torch.save(open_clip_names(model), file)
    tokenizer.save_pretrained(tmp_path / "words")
    scores = [
        alignment.load(file, tokenizer=tmp_path / "words", device="cpu", cache=False, quick_gelu=quick)
        .similarity(images, texts)
        for quick in (False, True)
    ]  # fmt: skip
    assert not torch.allclose(*scores, atol=1e-3)


def test_the_registry_says_which_activation_it_is(gelu_clip, tmp_path, images, texts, monkeypatch):
    """GeoRSCLIP's authors trained OpenAI's model on, with its activation; its file is a bare state dict."""
    from rs_course import registry

    _, model, tokenizer = gelu_clip
    monkeypatch.setenv("RS_COURSE_CACHE", str(tmp_path / "cache"))
    entry = registry.get("georsclip-vit-b-32")
    entry.folder.mkdir(parents=True)
    file = entry.folder / entry.files[0].path
    torch.save(open_clip_names(model), file)
    tokenizer.save_pretrained(tmp_path / "words")
    options = {"tokenizer": tmp_path / "words", "device": "cpu", "cache": False}
    named = alignment.load("georsclip-vit-b-32", **options).similarity(images, texts)
    quick, plain = (
        alignment.load(file, quick_gelu=quick, **options).similarity(images, texts) for quick in (True, False)
    )
    assert torch.equal(named, quick) and not torch.allclose(named, plain, atol=1e-3)


def test_equal_to_open_clip_itself(tmp_path, images):
    package = pytest.importorskip(
        "open_clip.model", reason="open_clip_torch needs torchvision", exc_type=ImportError
    )
    torch.manual_seed(0)
    theirs = package.CLIP(
        embed_dim=16,
        vision_cfg={"image_size": 32, "layers": 2, "width": 128, "patch_size": 8},
        text_cfg={"context_length": 24, "vocab_size": 90, "width": 128, "heads": 2, "layers": 2},
    ).eval()
    config, state = to_transformers(theirs.state_dict(), "test")
    from transformers import CLIPModel

    ours = CLIPModel(config).eval()
    ours.load_state_dict(state)
    tokens = torch.randint(0, 88, (6, 24), generator=torch.Generator().manual_seed(1))
    tokens[:, 0], tokens[torch.arange(6), torch.arange(6) + 3] = 88, 89
    with torch.no_grad():
        torch.testing.assert_close(
            ours.get_image_features(images).pooler_output, theirs.encode_image(images), rtol=1e-4, atol=1e-5
        )
        torch.testing.assert_close(
            ours.get_text_features(tokens).pooler_output, theirs.encode_text(tokens), rtol=1e-4, atol=1e-5
        )
    torch.testing.assert_close(state["logit_scale"], theirs.logit_scale.detach())


def test_published_shapes_are_recognised():
    """The settings of ViT-B-32 and ViT-H-14 follow from the shapes of their tensors."""
    for width, patch, grid, text, heads, text_heads in (
        (768, 32, 7, 512, 12, 8),
        (1280, 14, 16, 1024, 16, 16),
    ):
        shapes = {
            "visual.conv1.weight": (width, 3, patch, patch),
            "visual.class_embedding": (width,),
            "visual.positional_embedding": (grid * grid + 1, width),
            "visual.proj": (width, 512),
            "visual.transformer.resblocks.11.mlp.c_fc.weight": (4 * width, width),
            "visual.transformer.resblocks.0.mlp.c_fc.weight": (4 * width, width),
            "token_embedding.weight": (49408, text),
            "positional_embedding": (77, text),
            "text_projection": (text, 512),
            "transformer.resblocks.0.mlp.c_fc.weight": (4 * text, text),
            "logit_scale": (),
        }
        state = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
        config, _ = to_transformers(state, "test")
        assert config.vision_config.image_size == patch * grid == 224
        assert (
            config.vision_config.num_attention_heads == heads and config.vision_config.num_hidden_layers == 12
        )
        assert config.text_config.num_attention_heads == text_heads
        assert config.text_config.eos_token_id == 49407


def test_other_towers_and_incomplete_files_are_named():
    resnet = {"visual.layer1.0.conv1.weight": torch.zeros(1), "token_embedding.weight": torch.zeros(1)}
    with pytest.raises(ValueError, match="has a ResNet in OpenCLIP's layout"):
        to_transformers(resnet, "RN50.pt")
    with pytest.raises(ValueError, match="another vision tower"):
        to_transformers({"visual.trunk.patch_embed.proj.weight": torch.zeros(1)}, "SigLIP.pt")
    cut = {"visual.conv1.weight": torch.zeros(8, 3, 4, 4), "visual.class_embedding": torch.zeros(8)}
    with pytest.raises(ValueError, match=r"lacks 'token_embedding.weight'"):
        to_transformers(cut, "cut.pt")
