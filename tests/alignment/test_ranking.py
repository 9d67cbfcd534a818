"""Recall at k against counting by hand and against sorting."""

import pytest
import torch

from rs_course.alignment import ranks, retrieval


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
