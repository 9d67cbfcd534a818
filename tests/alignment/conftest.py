"""Tiny scorers with random weights, built here in the on-disk layouts of the published ones."""

import json

import pytest
import torch

SIZE, WIDTH = 32, 16


def build_clip(folder, *, resize=SIZE, context=24):
    """A CLIPModel folder with a byte-level CLIP tokenizer; returns the model and tokenizer."""
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789.,'-"]
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer({word: i for i, word in enumerate(words)}, [])
    vocabulary = len(words)
    tower = {"hidden_size": WIDTH, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config=tower
        | {
            "vocab_size": vocabulary,
            "max_position_embeddings": context,
            "bos_token_id": vocabulary - 2,
            "eos_token_id": vocabulary - 1,
            "pad_token_id": vocabulary - 1,
            "projection_dim": 8,
        },
        vision_config=tower | {"image_size": SIZE, "patch_size": 8, "projection_dim": 8},
        projection_dim=8,
    )
    model = randomised(CLIPModel(config))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_preprocessor(folder, size={"shortest_edge": resize}, crop_size={"height": SIZE, "width": SIZE})
    return model, tokenizer


def build_siglip(folder, *, naflex=False):
    """A SiglipModel (or Siglip2Model) folder whose only tokenizer file is tokenizer.json."""
    import transformers
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    if naflex:
        letters = [*"abcdefghijklmnopqrstuvwxyz▁"]
        specials = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
        words = [*specials, *letters]
        tokenizer = transformers.Siglip2Tokenizer({word: i for i, word in enumerate(words)}, [])
        return _siglip(folder, tokenizer, len(words), naflex)
    words = ["<pad>", "</s>", "<unk>", "a", "river", "road", "village", "three", "of", "image", "the"]
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    return _siglip(folder, tokenizer, len(words), naflex)


def _siglip(folder, tokenizer, vocabulary, naflex):
    import transformers

    tower = {"hidden_size": WIDTH, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    tokens = {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
    text = (
        tower | tokens | {"vocab_size": vocabulary, "max_position_embeddings": 64, "projection_size": WIDTH}
    )
    torch.manual_seed(1)
    if naflex:
        vision = tower | {"patch_size": 8, "num_patches": 16}
        model = transformers.Siglip2Model(transformers.Siglip2Config(text_config=text, vision_config=vision))
        settings = {"patch_size": 8, "max_num_patches": 12, "resample": 2}
    else:
        vision = tower | {"patch_size": 8, "image_size": 48}
        model = transformers.SiglipModel(transformers.SiglipConfig(text_config=text, vision_config=vision))
        settings = {"size": {"height": 48, "width": 48}}
    model = randomised(model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_preprocessor(folder, image_mean=[0.5] * 3, image_std=[0.5] * 3, **settings)
    return model, tokenizer


def randomised(model):
    """Weights large enough that embeddings of different inputs point in different directions."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith("logit") and parameter.ndim > 1:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def write_preprocessor(folder, **settings):
    defaults = {
        "do_resize": True,
        "resample": 3,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "do_center_crop": "crop_size" in settings,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(defaults | settings))


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """``(folder, model, tokenizer)`` of a tiny CLIP."""
    folder = tmp_path_factory.mktemp("clip")
    return folder, *build_clip(folder)


@pytest.fixture(scope="session")
def siglip(tmp_path_factory):
    """``(folder, model, tokenizer)`` of a tiny SigLIP."""
    folder = tmp_path_factory.mktemp("siglip")
    return folder, *build_siglip(folder)


@pytest.fixture(scope="session")
def scorer(clip):
    from rs_course import alignment

    return alignment.load(clip[0], device="cpu", cache=False)


@pytest.fixture(scope="session")
def images():
    """Six different images of the tiny scorers' size."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(6, 3, 4, 4, generator=generator)
    fine = torch.rand(6, 3, SIZE, SIZE, generator=generator)
    return (0.7 * coarse.repeat_interleave(8, 2).repeat_interleave(8, 3) + 0.3 * fine).clamp(0, 1)


@pytest.fixture(scope="session")
def texts():
    return ["a river", "a road", "two villages", "three villages", "a forest in winter", "the sea."]
