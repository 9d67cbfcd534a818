"""Do the image and the text agree? Scorers of the CLIP and SigLIP families, retrieval, zero-shot classes.

>>> from rs_course import alignment
>>> scorer = alignment.load("openclip-vit-b-32")  # doctest: +SKIP
>>> scorer.similarity(images, ["a river", "a motorway"])  # doctest: +SKIP

A scorer judges with what it was trained on. The text tower of a generator must not judge that generator
alone: what the two share, the score cannot see.
"""

import lazy_loader

from rs_course.deprecation import old_names

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__getattr__ = old_names(__name__, {"changes": "corruptions"}, __getattr__)
