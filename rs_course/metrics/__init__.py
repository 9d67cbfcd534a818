"""Measures of image pairs (:mod:`.image`, :mod:`.lpips`) and of sets of images: is the generated set like the
real one?

Those of sets take feature matrices ``[N, D]`` (torch or NumPy) of whatever network the question is about;
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
>>> from rs_course import metrics
>>> real, generated = torch.randn(2, 500, 16)
>>> abs(metrics.kid(real, generated)) < 0.5  # and its .standard_error says how sure that is
True

The names below load on first use, so that importing :mod:`rs_course.metrics` needs no torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
