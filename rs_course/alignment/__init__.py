"""Do the image and the text agree? Scorers of the CLIP and SigLIP families, retrieval, zero-shot classes.

>>> from rs_course import alignment
>>> scorer = alignment.load("openclip-vit-b-32")  # doctest: +SKIP
>>> scorer.similarity(images, ["a river", "a motorway"])  # doctest: +SKIP

A scorer judges with what it was trained on. The text tower of a generator must not judge that generator
alone: what the two share, the score cannot see.
"""

from rs_course import lazy

_HOME = {
    "load": "loading",
    "Scorer": "scorer",
    "retrieval": "ranking",
    "ranks": "ranking",
    "Retrieval": "ranking",
    "zero_shot": "classes",
    "class_embeddings": "classes",
    "EUROSAT_TEMPLATES": "classes",
    "minimal_pairs": "pairs",
    "MinimalPair": "pairs",
    "minimal_pair_accuracy": "pairs",
    "EmbeddingCache": "cache",
    "info_nce": "contrastive",
    "sigmoid_loss": "contrastive",
}

__getattr__, __dir__ = lazy.attach(__name__, _HOME)
