"""Measures: of image pairs (:mod:`.image`) and of sets of images (:mod:`.distribution`).

The names below load on first use, so that importing :mod:`rs_course.metrics` needs no torch.
"""

from importlib import import_module

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


def __getattr__(name):
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    if name in _SUBMODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *_HOME, *_SUBMODULES])
