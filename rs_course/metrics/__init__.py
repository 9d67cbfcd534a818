"""Measures: of image pairs (:mod:`.image`) and of sets of images (:mod:`.distribution`).

The names below load on first use, so that importing :mod:`rs_course.metrics` needs no torch.
"""

from rs_course import lazy

_HOME = {
    "psnr": "image",
    "ssim": "image",
    "luma": "image",
    "CONVENTIONS": "image",
    "FeatureStatistics": "distribution",
    "Interval": "distribution",
    "PrecisionRecall": "distribution",
    "bootstrap": "distribution",
    "classification_accuracy_score": "distribution",
    "cmmd": "distribution",
    "fid": "distribution",
    "fid_infinity": "distribution",
    "frechet_distance": "distribution",
    "inception_score": "distribution",
    "kid": "distribution",
    "precision_recall": "distribution",
    "wilson": "distribution",
}
_SUBMODULES = ("distribution", "image", "inception", "lpips")

__getattr__, __dir__ = lazy.attach(__name__, _HOME, _SUBMODULES)
