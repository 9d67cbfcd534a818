"""Scores against the transformers model run by hand, and against torchmetrics on the same model."""

import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rs_course import alignment
from rs_course.alignment.scorer import digest, fingerprint

from .conftest import SIZE


def by_hand(model, tokenizer, images, texts, mean, std):
    """Unit embeddings as the model cards compute them."""
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (mean, std))
    pixels = ((images * 255).round() / 255 - mean) / std
    tokens = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        image = model.get_image_features(pixel_values=pixels).pooler_output
        text = model.get_text_features(**tokens).pooler_output
    return F.normalize(image, dim=1), F.normalize(text, dim=1)


@pytest.fixture(scope="module")
def reference(clip, images, texts):
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    return by_hand(*clip[1:], images, texts, mean, std)


def test_similarity_is_the_cosine_of_the_model_run_by_hand(scorer, images, texts, reference):
    image, text = reference
    torch.testing.assert_close(scorer.similarity(images, texts), image @ text.T)
    assert (image @ text.T).std() > 0.05  # the tiny model tells inputs apart, so equality says something


def test_probability_of_clip_is_the_models_own_softmax(clip, scorer, images, texts):
    tokens = clip[2](texts, padding=True, return_tensors="pt")
    pixels = scorer.preparation((images * 255).round().to(torch.uint8))
    with torch.no_grad():
        theirs = clip[1](**tokens, **pixels).logits_per_image
    torch.testing.assert_close(scorer.logits(images, texts), theirs, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(scorer.probability(images, texts), theirs.softmax(1), rtol=1e-4, atol=1e-6)


def test_score_is_the_diagonal_and_both_conventions_follow_from_it(scorer, images, texts):
    cosine = scorer.similarity(images, texts).diagonal()
    torch.testing.assert_close(scorer.score(images, texts), cosine)
    torch.testing.assert_close(scorer.clip_score(images, texts), 2.5 * cosine.clamp(min=0))
    torch.testing.assert_close(scorer.clip_score_percent(images, texts), 100 * cosine)
    assert (cosine < 0).any() and (cosine > 0).any()  # both branches of the clamp are seen


def test_equal_to_torchmetrics_on_the_same_model(clip, scorer, images, texts):
    """torchmetrics expects a tensor of get_image_features, as before transformers 5: a shim hands it one."""
    from torchmetrics.multimodal import CLIPScore
    from transformers import CLIPImageProcessorPil, CLIPProcessor

    class Tensors(torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model, self.config = model, model.config

        def get_image_features(self, pixels):
            return self.model.get_image_features(pixels).pooler_output

        def get_text_features(self, ids, mask):
            return self.model.get_text_features(ids, mask).pooler_output

    processor = CLIPProcessor(CLIPImageProcessorPil.from_pretrained(clip[0]), clip[2])
    metric = CLIPScore(model_name_or_path=lambda: (Tensors(clip[1]), processor))
    pixels = (images * 255).round().to(torch.uint8)
    for i, text in enumerate(texts):
        metric.reset()
        metric.update(pixels[i : i + 1], text)
        ours = scorer.clip_score_percent(images[i : i + 1], [text]).clamp(min=0)
        assert ours.item() == pytest.approx(metric.compute().item(), abs=1e-4)


def test_several_captions_of_an_image_take_the_best_or_the_mean(scorer, images, texts):
    groups = [texts[:3], texts[3:4], texts[4:]]
    similarity = scorer.similarity(images[:3], texts)
    rows = [similarity[0, :3], similarity[1, 3:4], similarity[2, 4:]]
    torch.testing.assert_close(scorer.score(images[:3], groups), torch.stack([r.max() for r in rows]))
    mean = scorer.score(images[:3], groups, captions="mean")
    torch.testing.assert_close(mean, torch.stack([r.mean() for r in rows]))


@pytest.mark.parametrize("batch_size", [1, 4])
def test_batches_do_not_change_the_score(clip, scorer, images, texts, batch_size):
    small = alignment.load(clip[0], device="cpu", cache=False, batch_size=batch_size)
    torch.testing.assert_close(small.similarity(images, texts), scorer.similarity(images, texts))


def test_uint8_arrays_and_float_tensors_are_one_image(scorer, images, texts):
    array = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    torch.testing.assert_close(scorer.similarity(array, texts), scorer.similarity(images, texts))
    array.flags.writeable = False  # as a memory-mapped data set is
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.testing.assert_close(scorer.similarity(array, texts), scorer.similarity(images, texts))
    one = scorer.similarity(images[0], texts[0])
    torch.testing.assert_close(one, scorer.similarity(images, texts)[:1, :1])
    assert scorer.similarity(array[0], texts).shape == (1, len(texts))


def test_embeddings_have_length_one_and_serve_the_distribution_metrics(scorer, images):
    from rs_course import metrics

    embeddings = scorer.image_embeddings(images)
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(len(images)))
    assert metrics.cmmd(embeddings, embeddings.flip(0)) == pytest.approx(0, abs=1e-6)


# --- SigLIP --------------------------------------------------------------------------------------


def test_siglip_pads_to_64_and_scores_with_a_sigmoid(siglip, images):
    folder, model, tokenizer = siglip
    words = ["a river", "the road of three village", "image"]
    scorer = alignment.load(folder, device="cpu", cache=False)
    pixels = scorer.preparation((images * 255).round().to(torch.uint8))["pixel_values"]
    assert pixels.shape[-2:] == (48, 48)  # the size comes from the checkpoint
    ids = tokenizer(words, padding="max_length", max_length=64, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        theirs = model(input_ids=ids, pixel_values=pixels)
    torch.testing.assert_close(scorer.logits(images, words), theirs.logits_per_image, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        scorer.probability(images, words), theirs.logits_per_image.sigmoid(), rtol=1e-5, atol=1e-6
    )


def test_naflex_siglip2_equals_its_own_processor(tmp_path, images):
    from transformers import Siglip2ImageProcessorPil

    from .conftest import build_siglip

    model, tokenizer = build_siglip(tmp_path, naflex=True)
    scorer = alignment.load(tmp_path, device="cpu", cache=False)
    wide = images[..., :20, :]  # the aspect ratio decides the grid of patches
    words = ["a river", "three villages"]
    pixels = (wide * 255).round().to(torch.uint8)
    inputs = Siglip2ImageProcessorPil.from_pretrained(tmp_path)(list(pixels), return_tensors="pt")
    prepared = scorer.preparation(pixels)
    assert torch.equal(prepared["spatial_shapes"], inputs["spatial_shapes"])
    torch.testing.assert_close(prepared["pixel_values"], inputs["pixel_values"], rtol=1e-6, atol=1e-6)
    ids = tokenizer(words, padding="max_length", max_length=64, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        theirs = model(input_ids=ids, **prepared).logits_per_image
    torch.testing.assert_close(scorer.logits(wide, words), theirs, rtol=1e-5, atol=1e-5)


# --- captions that do not fit ---------------------------------------------------------------------


def test_a_long_caption_warns_and_says_what_is_cut(scorer, images):
    caption = "a river that bends past the old town"  # 29 letters and two marks, where 24 tokens are read
    with pytest.warns(UserWarning, match=r"Caption 1 has 31 tokens .* reads 24.*: “old town”\."):
        cut = scorer.similarity(images, ["a river", caption])
    kept = scorer.similarity(images, ["a river that bends past the"])
    torch.testing.assert_close(cut[:, 1:], kept)


def test_a_long_caption_raises_where_asked(clip, images):
    strict = alignment.load(clip[0], device="cpu", cache=False, long_captions="raise")
    with pytest.raises(ValueError, match="Shorten it"):
        strict.similarity(images, ["a" * 30, "b" * 40])


# --- mistakes -------------------------------------------------------------------------------------

GREY, FOUR = torch.rand(2, 1, SIZE, SIZE), torch.rand(2, 4, SIZE, SIZE)
HOLE = torch.full((1, 3, SIZE, SIZE), float("nan"))


@pytest.mark.parametrize(
    ("images", "error", "words"),
    [
        (GREY, ValueError, "images is grey"),
        (FOUR, ValueError, "4 channels: keep red"),
        (HOLE, ValueError, "contains NaN"),
        (torch.rand(2, SIZE, SIZE, 3), ValueError, "channels come first"),
        (torch.rand(0, 3, SIZE, SIZE), ValueError, "nothing to score"),
        (2 * torch.ones(1, 3, SIZE, SIZE), ValueError, r"lie in \[0, 1\]"),
        (torch.zeros(1, 3, SIZE, SIZE, dtype=torch.uint8), TypeError, "divide uint8 images by 255"),
        (np.zeros((2, SIZE, SIZE), np.uint8), ValueError, r"uint8 arrays are \[N, H, W, 3\]"),
        ("picture.png", TypeError, "not str"),
    ],
)
def test_wrong_images_are_named(scorer, images, error, words):
    with pytest.raises(error, match=words):
        scorer.similarity(images, ["a river"])


def test_wrong_texts_are_named(scorer, images):
    with pytest.raises(ValueError, match="6 images and 2 texts: score takes one text"):
        scorer.score(images, ["a river", "a road"])
    with pytest.raises(ValueError, match="1 images and 2 texts"):
        scorer.score(images[:1], ["a river", "a road"])
    with pytest.raises(ValueError, match="texts is empty"):
        scorer.similarity(images, [])
    with pytest.raises(ValueError, match="texts is empty"):
        scorer.score(images[:1], [[]])
    with pytest.raises(TypeError, match=r"texts\[1\] is int"):
        scorer.similarity(images, ["a river", 3])
    with pytest.raises(ValueError, match="'max' or 'mean'"):
        scorer.score(images, ["a"] * 6, captions="sum")


@pytest.fixture
def counted(clip, tmp_path):
    """A scorer with a cache, and the list of batch sizes its towers were run with."""
    scorer = alignment.load(clip[0], device="cpu", cache=tmp_path / "kept.sqlite")
    runs = {"image": [], "text": []}
    scorer.model.vision_model.register_forward_hook(
        lambda module, args, kwargs, output: runs["image"].append(len(kwargs["pixel_values"])),
        with_kwargs=True,
    )
    scorer.model.text_model.register_forward_hook(
        lambda module, args, kwargs, output: runs["text"].append(len(kwargs["input_ids"])), with_kwargs=True
    )
    return scorer, runs


def test_what_was_seen_is_not_computed_again(counted, scorer, images, texts):
    kept, runs = counted
    first = kept.similarity(images[:4], texts[:3])
    again = kept.similarity(images, texts)  # four images and three texts are known
    assert runs == {"image": [4, 2], "text": [3, 3]}
    torch.testing.assert_close(again, scorer.similarity(images, texts))
    torch.testing.assert_close(again[:4, :3], first)
    kept.similarity(images.flip(0), texts[::-1])
    assert runs == {"image": [4, 2], "text": [3, 3]}


def test_another_session_finds_it(counted, clip, images, texts):
    kept, _ = counted
    first = kept.similarity(images, texts)
    again = alignment.load(clip[0], device="cpu", cache=kept.cache.file)
    again.model.get_image_features = again.model.get_text_features = None  # any forward pass would fail
    assert torch.equal(again.text_embeddings(texts), kept.text_embeddings(texts))
    assert torch.equal(again.similarity(images, texts), first)


def test_one_changed_pixel_is_another_image(counted, scorer, images, texts):
    kept, _ = counted
    kept.similarity(images, texts)
    changed = images.clone()
    changed[0, 0, 0, 0] = 1 - changed[0, 0, 0, 0]
    torch.testing.assert_close(kept.similarity(changed, texts), scorer.similarity(changed, texts))


def test_other_weights_or_settings_are_another_scorer(clip, images):
    from transformers import CLIPModel

    model = CLIPModel.from_pretrained(clip[0])
    before = fingerprint(model, "a")
    assert fingerprint(CLIPModel.from_pretrained(clip[0]), "a") == before
    assert fingerprint(model, "b") != before
    with torch.no_grad():
        model.text_projection.weight[0, 0] += 1e-6
    assert fingerprint(model, "a") != before


def test_boundaries_of_content_count():
    assert digest(b"ab", b"c") != digest(b"a", b"bc")


def test_a_disk_that_cannot_be_used_costs_only_the_cache(clip, scorer, images, texts, tmp_path):
    (tmp_path / "file").write_text("in the way")
    kept = alignment.load(clip[0], device="cpu", cache=tmp_path / "file" / "kept.sqlite")
    with pytest.warns(UserWarning, match="Embeddings are not kept on disk"):
        first = kept.similarity(images, texts)
    torch.testing.assert_close(first, scorer.similarity(images, texts))


def test_a_damaged_file_costs_only_the_cache(clip, scorer, images, texts, tmp_path):
    (tmp_path / "kept.sqlite").write_bytes(b"not a database" * 100)
    kept = alignment.load(clip[0], device="cpu", cache=tmp_path / "kept.sqlite")
    with pytest.warns(UserWarning, match="cannot be used"):
        first = kept.similarity(images, texts)
    torch.testing.assert_close(first, scorer.similarity(images, texts))


def test_the_default_place_is_the_courses_cache(clip, images, tmp_path, monkeypatch):
    monkeypatch.setenv("RS_COURSE_CACHE", str(tmp_path))
    alignment.load(clip[0], device="cpu").image_embeddings(images)
    assert (tmp_path / "embeddings.sqlite").is_file()


def test_embeddings_can_be_trained_on(counted, images):
    """They leave inference mode, so that a linear probe can use them."""
    head = torch.nn.Linear(8, 2)
    for _ in range(2):  # fresh, then from the cache
        head(counted[0].image_embeddings(images)).sum().backward()
    assert head.weight.grad.abs().sum() > 0
