"""Zero-shot classification: classes are sentences, and an ensemble of sentences is one better sentence."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .scorer import Scorer

# CLIP's own prompts for EuroSAT (github.com/openai/CLIP, data/prompts.md).
EUROSAT_TEMPLATES = (
    "a centered satellite photo of {}.",
    "a centered satellite photo of a {}.",
    "a centered satellite photo of the {}.",
)


def class_embeddings(scorer: Scorer, classes, templates=EUROSAT_TEMPLATES) -> torch.Tensor:
    """One embedding per class ``[C, D]``: the mean over templates, brought back to length one.

    The mean is taken of embeddings, not of probabilities (Radford et al. 2021).

    Args:
        scorer: Whose text tower.
        classes: Class names as a caption would say them ("annual crop land", not "AnnualCrop"); or for each
            class a list of finished prompts, which are used without the templates.
        templates: Sentences with one ``{}``.

    Raises:
        ValueError: No classes, no templates, or a template without ``{}``.
    """
    classes, templates = list(classes), [templates] if isinstance(templates, str) else list(templates)
    if len(classes) < 1:
        raise ValueError("classes is empty: zero-shot classification chooses among class names.")
    if broken := [template for template in templates if "{}" not in template]:
        raise ValueError(f"The template {broken[0]!r} has no {{}} for the class name.")
    prompts = [
        [template.format(name) for template in templates] if isinstance(name, str) else list(name)
        for name in classes
    ]
    if not all(prompts):
        raise ValueError("Every class needs at least one template or prompt.")
    embeddings = scorer.text_embeddings([prompt for group in prompts for prompt in group])
    means = [part.mean(dim=0) for part in embeddings.split([len(group) for group in prompts])]
    return F.normalize(torch.stack(means), dim=1)


def zero_shot(scorer: Scorer, images, classes, templates=EUROSAT_TEMPLATES) -> torch.Tensor:
    """Probability of each class ``[N, C]``; ``.argmax(1)`` is the prediction.

    Softmax over the classes of exp(scale) · cosine, for SigLIP too: its bias is the same for all classes, and
    a classifier has to choose one.

    Raises:
        TypeError, ValueError: As :func:`class_embeddings` and :meth:`Scorer.image_embeddings`.
    """
    image = scorer.image_embeddings(images)
    cosines = image @ class_embeddings(scorer, classes, templates).to(image.device).T
    return (scorer.model.logit_scale.exp().item() * cosines).softmax(dim=1)
