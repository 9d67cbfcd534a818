"""Prompts of He et al. 2023: one template per class (B), or many sentences per class (LE).

Language enhancement in the paper is a T5 that turns the class name into sentences (:func:`t5_sentences`,
which needs the hub). Offline a grammar does it: view × subject × setting × time of year, in words that the
course's minis were trained on. For every other class, ``prompts`` is a dict that you write yourself.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from rs_course.checkpoints.prompts import LEVEL_TOKEN
from rs_course.datasets import class_prompt
from rs_course.datasets.prompts import PHRASES

_SUBJECTS = {
    "AnnualCrop": ("fields of annual crops", "cropland"),
    "Forest": ("a dense forest", "closed woodland"),
    "HerbaceousVegetation": ("open scrub and grass", "natural grassland and shrubs"),
    "Highway": ("a motorway", "a wide road"),
    "Industrial": ("an industrial area", "factories and warehouses"),
    "Pasture": ("meadows and pasture", "grazing land"),
    "PermanentCrop": ("orchards and vineyards", "a patchwork of orchards"),
    "Residential": ("houses and streets", "a town"),
    "River": ("a river and its banks", "a stretch of river"),
    "SeaLake": ("open water", "a large body of water"),
}
_VIEWS = {
    "simulated": (
        "a satellite image of",
        "an overhead picture of",
        "a view from orbit of",
        "a Sentinel-2 view of",
    ),
    "eurosat": ("a Sentinel-2 image of", "a real Sentinel-2 tile with", "a Sentinel-2 picture that shows"),
}
_SETTINGS = {
    "open": ("", " next to green fields", " next to bare fields", " with trees", " with a village", " with a "
    "pond"),
    "built": ("", " with gardens", " with trees", " next to green fields", " with a wide road"),
    "wet": ("", " next to green fields", " with trees on the left", " with a village", " with a bridge"),
}  # fmt: skip
_KIND = {"Industrial": "built", "Residential": "built", "River": "wet", "SeaLake": "wet"}
_SEASONS = ("", " in spring", " in summer", " in autumn")


def class_prompts(
    making: str, classes, *, dataset: str = "eurosat", count: int = 200, seed: int = 0
) -> dict[str, list[str]]:
    """Prompts of every class.

    Args:
        making: ``"basic"`` and ``"real-guidance"`` give one per class, ``"language-enhancement"`` ``count``.
        classes: Names among EuroSAT's ten.
        dataset: Whose look: ``"eurosat"`` or ``"simulated"`` (see :func:`rs_course.datasets.class_prompt`).
        count: Sentences per class of the enhancement, at most as many as the grammar has.
        seed: Of their order.

    Raises:
        ValueError: Unknown class, data set or way of making.
    """
    plain = {name: class_prompt(name, dataset) for name in classes}
    if making in ("basic", "real-guidance"):
        return {name: [prompt] for name, prompt in plain.items()}
    if making != "language-enhancement":
        raise ValueError(f"{making!r} makes no prompts: use basic, real-guidance or language-enhancement.")
    return {name: [plain[name], *_sentences(name, dataset, seed)][:count] for name in classes}


def _sentences(name: str, dataset: str, seed: int) -> list[str]:
    """All other sentences about a class, in the order that ``seed`` draws."""
    level, mark, _ = class_prompt(name, dataset).rpartition(LEVEL_TOKEN)
    subjects = (PHRASES[name], *_SUBJECTS[name])
    parts = product(_VIEWS[dataset], subjects, _SETTINGS[_KIND.get(name, "open")], _SEASONS)
    sentences = [level + mark + "".join([view, " ", *rest]) for view, *rest in parts]
    sentences.remove(class_prompt(name, dataset))
    order = np.random.default_rng([seed, list(PHRASES).index(name)]).permutation(len(sentences))
    return [sentences[i] for i in order]


def t5_sentences(
    words: str, count: int = 200, *, model: str = "mrm8488/t5-base-finetuned-common_gen", seed: int = 0
) -> list[str]:
    """Sentences about some words by a T5 that was fine-tuned on CommonGen, as in the paper's enhancement.

    The paper's prompt for EuroSAT is "a centered satellite photo of" and the sentence.

    Args:
        words: The class as its words ("highway", "permanent crop").
        count: Different sentences wanted; as in the authors' code 50 more are drawn, then repetitions
            removed.
        model: Hub id or local folder of a T5 in the layout of ``transformers``.
        seed: Of the drawing.

    Raises:
        FileNotFoundError: The model is neither a folder nor reachable.
    """
    import torch
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(model)
        t5 = AutoModelForSeq2SeqLM.from_pretrained(model)
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f"The T5 {model!r} is neither a folder nor reachable ({str(error).splitlines()[0]}): use the "
            "grammar, class_prompts('language-enhancement', ...)."
        ) from None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        drawn = t5.generate(
            **tokenizer(words, return_tensors="pt"),
            do_sample=True,
            num_return_sequences=count + 50,
            max_new_tokens=32,
        )
    return list(dict.fromkeys(tokenizer.batch_decode(drawn, skip_special_tokens=True)))[:count]
