"""The cache answers by content, and by nothing else."""

import pytest
import torch

from rs_course import alignment
from rs_course.alignment.cache import digest, fingerprint


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
