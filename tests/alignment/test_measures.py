"""Ranks and zero-shot classes against their definitions; the loss equals that of transformers."""

import math

import pytest
import torch
import torch.nn.functional as F

from rs_course.alignment import EUROSAT_TEMPLATES, class_embeddings, ranks, retrieval, zero_shot
from rs_course.alignment.measures import info_nce


def test_recall_counted_by_hand():
    similarity = torch.tensor([[0.9, 0.1, 0.5], [0.8, 0.3, 0.2], [0.1, 0.4, 0.6]])
    image_ranks, text_ranks = ranks(similarity)
    assert image_ranks.tolist() == [1, 2, 1]  # image 1 prefers text 0
    assert text_ranks.tolist() == [1, 2, 1]  # text 1 prefers image 2
    result = retrieval(similarity, k=(1, 2))
    assert result.image_to_text == result.text_to_image == pytest.approx({1: 2 / 3, 2: 1.0})
    assert result.mean == pytest.approx((2 / 3 + 1) / 2)


def test_several_captions_per_image():
    """The best own caption counts for the image; each caption is asked for by itself."""
    owner = [0, 0, 1, 1]
    similarity = torch.tensor([[0.2, 0.9, 0.8, 0.1], [0.6, 0.0, 0.5, 0.7]])
    image_ranks, text_ranks = ranks(similarity, owner)
    assert image_ranks.tolist() == [1, 1]
    assert text_ranks.tolist() == [2, 1, 2, 1]
    other_order = [2, 0, 3, 1]  # the order of the captions does not matter
    shuffled = ranks(similarity[:, other_order], [owner[i] for i in other_order])
    assert shuffled[1].tolist() == text_ranks[other_order].tolist()


def test_own_captions_do_not_compete_with_each_other():
    similarity = torch.tensor([[0.9, 0.8, 0.1], [0.1, 0.2, 0.7]])
    assert retrieval(similarity, [0, 0, 1], k=(1,)).text_to_image == {1: 1.0}


def test_recall_equals_sorting_every_row_and_column():
    generator = torch.Generator().manual_seed(0)
    similarity = torch.rand(20, 60, generator=generator)
    owner = torch.arange(20).repeat_interleave(3).tolist()
    result = retrieval(similarity, owner)
    for k in (1, 5, 10):
        best_texts = [sorted(range(60), key=lambda j, row=row: -row[j])[:k] for row in similarity.tolist()]
        images_found = [any(owner[j] == i for j in texts) for i, texts in enumerate(best_texts)]
        assert result.image_to_text[k] == pytest.approx(sum(images_found) / 20)
        best_images = [
            sorted(range(20), key=lambda i, c=column: -c[i])[:k] for column in similarity.T.tolist()
        ]
        texts_found = [owner[j] in images for j, images in enumerate(best_images)]
        assert result.text_to_image[k] == pytest.approx(sum(texts_found) / 60)


def test_a_scorer_that_cannot_tell_gains_nothing_from_the_order():
    constant = retrieval(torch.ones(50, 50))
    assert constant.mean == 0
    assert retrieval(torch.eye(50)).mean == 1


@pytest.mark.parametrize(
    ("similarity", "owner", "words"),
    [
        (torch.rand(3), None, "matrix"),
        (torch.zeros(0, 3), None, "matrix"),
        (torch.full((2, 2), float("nan")), None, "NaN"),
        (torch.rand(2, 4), None, "2 images and 4 texts"),
        (torch.rand(2, 4), [0, 1], "image_of_text has shape"),
        (torch.rand(2, 2), [0, 2], "must name one of the 2 images"),
        (torch.rand(2, 2), [0, 0], "1 of the 2 images have no text"),
    ],
)
def test_wrong_matrices_are_named(similarity, owner, words):
    with pytest.raises(ValueError, match=words):
        retrieval(similarity, owner)


def test_wrong_k_is_named():
    with pytest.raises(ValueError, match="ranks start at 1"):
        retrieval(torch.rand(2, 2), k=(0,))


CLASSES = ["river", "forest", "sea or lake"]
SHORT = ("a {}", "the {}.")


def test_class_embeddings_are_the_normalised_mean_over_templates(scorer):
    expected = [
        F.normalize(scorer.text_embeddings([template.format(name) for template in SHORT]).mean(0), dim=0)
        for name in CLASSES
    ]
    torch.testing.assert_close(class_embeddings(scorer, CLASSES, SHORT), torch.stack(expected))


def test_probabilities_are_a_softmax_at_the_models_temperature(scorer, images):
    cosines = scorer.image_embeddings(images) @ class_embeddings(scorer, CLASSES, SHORT).T
    expected = (cosines * scorer.model.logit_scale.exp()).softmax(1)
    result = zero_shot(scorer, images, CLASSES, SHORT)
    torch.testing.assert_close(result, expected)
    torch.testing.assert_close(result.sum(1), torch.ones(len(images)))
    assert (result.argmax(1) == cosines.argmax(1)).all()


def test_one_template_and_finished_prompts(scorer):
    one = class_embeddings(scorer, CLASSES, "a {}")
    torch.testing.assert_close(one, scorer.text_embeddings([f"a {name}" for name in CLASSES]))
    finished = class_embeddings(scorer, [["a river"], ["a forest"], ["a sea or lake"]])
    torch.testing.assert_close(finished, one)


def test_default_templates_are_complete_sentences(scorer):
    prompts = [template.format("forest") for template in EUROSAT_TEMPLATES]
    assert prompts[2] == "a centered satellite photo of the forest."
    with pytest.warns(UserWarning, match="reads 24"):  # too long for the tiny tower, and said so
        expected = F.normalize(scorer.text_embeddings(prompts).mean(0), dim=0)
    with pytest.warns(UserWarning, match="reads 24"):
        torch.testing.assert_close(class_embeddings(scorer, ["forest"])[0], expected)


@pytest.mark.parametrize(
    ("classes", "templates", "words"),
    [
        ([], SHORT, "classes is empty"),
        (CLASSES, ["a photo"], "has no {} for the class name"),
        (CLASSES, [], "at least one template"),
        ([["a river"], []], SHORT, "at least one template or prompt"),
    ],
)
def test_wrong_classes_are_named(scorer, classes, templates, words):
    with pytest.raises(ValueError, match=words):
        class_embeddings(scorer, classes, templates)


def draw(count=6, width=5):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, count, width, generator=generator, dtype=torch.float64)


def test_info_nce_equals_transformers():
    from transformers.models.clip.modeling_clip import image_text_contrastive_loss

    image, text = draw()
    cosines = torch.nn.functional.cosine_similarity(text[:, None], image[None], dim=-1)
    theirs = image_text_contrastive_loss(cosines / 0.1).item()
    assert info_nce(image, text, 0.1).item() == pytest.approx(theirs, rel=1e-12)


def test_info_nce_of_a_scorer_that_cannot_tell_is_the_logarithm_of_the_batch():
    same = torch.ones(8, 3)
    assert info_nce(same, same, 0.07).item() == pytest.approx(math.log(8), rel=1e-6)


def test_one_pair_and_different_shapes_are_refused():
    image, text = draw()
    for a, b in ((image[:1], text[:1]), (image, text[:4]), (image, text[:, :3]), (image[0], text[0])):
        with pytest.raises(ValueError, match="at least two pairs"):
            info_nce(a, b, 0.1)
