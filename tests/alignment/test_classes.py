"""Zero-shot classes against the formula of the CLIP paper, step by step."""

import pytest
import torch
import torch.nn.functional as F

from rs_course.alignment import EUROSAT_TEMPLATES, class_embeddings, zero_shot

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
