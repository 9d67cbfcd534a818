"""The losses equal those of the models in transformers; one pair or different shapes are refused."""

import math

import pytest
import torch

from rs_course.alignment.contrastive import info_nce, sigmoid_loss


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


def test_sigmoid_loss_equals_transformers(siglip):
    _, model, _ = siglip
    pixels = torch.rand(3, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    ids = torch.tensor([[4, 1], [5, 1], [6, 1]])
    with torch.no_grad():
        out = model(input_ids=ids, pixel_values=pixels, return_loss=True)
        ours = sigmoid_loss(out.image_embeds, out.text_embeds, 1 / model.logit_scale.exp(), model.logit_bias)
    assert ours.item() == pytest.approx(out.loss.item(), rel=1e-5)


@pytest.mark.parametrize(
    "loss", [lambda a, b: info_nce(a, b, 0.1), lambda a, b: sigmoid_loss(a, b, 0.1, -10)]
)
def test_one_pair_and_different_shapes_are_refused(loss):
    image, text = draw()
    for a, b in ((image[:1], text[:1]), (image, text[:4]), (image, text[:, :3]), (image[0], text[0])):
        with pytest.raises(ValueError, match="at least two pairs"):
            loss(a, b)
