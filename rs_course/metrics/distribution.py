"""Distances between sets of image features: is the generated set like the real one?

Every function takes feature matrices ``[N, D]`` (torch or NumPy) of whatever network the question is about;
the network decides what a metric can see, so a result is only complete with its name.

| metric | question | unbiased in N? | good |
| --- | --- | --- | --- |
| :func:`fid` | same mean and covariance? | no, see :func:`fid_infinity` | 0 |
| :func:`kid` | same distribution (cubic kernel)? | yes, with a standard error | 0 |
| :func:`cmmd` | same distribution of CLIP embeddings? | nearly | 0 |
| :func:`inception_score` | confident and varied classes? | no | number of classes |
| :func:`precision_recall` | realistic? varied? | no, compare equal sizes | 1 |
| :func:`classification_accuracy_score` | does a classifier learn from it? | - | that of real data |

>>> import torch
>>> real, generated = torch.randn(2, 500, 16)
>>> abs(kid(real, generated)) < 0.5  # and its .standard_error says how sure that is
True
"""

from .by_classifier import classification_accuracy_score, inception_score
from .frechet import fid, fid_infinity, frechet_distance
from .intervals import Interval, bootstrap, wilson
from .mmd import cmmd, kid
from .moments import FeatureStatistics
from .neighbours import PrecisionRecall, precision_recall

__all__ = [
    "FeatureStatistics",
    "Interval",
    "PrecisionRecall",
    "bootstrap",
    "classification_accuracy_score",
    "cmmd",
    "fid",
    "fid_infinity",
    "frechet_distance",
    "inception_score",
    "kid",
    "precision_recall",
    "wilson",
]
