from . import image as image, inception as inception, lpips as lpips
from .distances import (
    cmmd as cmmd,
    fid as fid,
    fid_infinity as fid_infinity,
    frechet_distance as frechet_distance,
    kid as kid,
)
from .features import FeatureStatistics as FeatureStatistics
from .fidelity import (
    PrecisionRecall as PrecisionRecall,
    classification_accuracy_score as classification_accuracy_score,
    inception_score as inception_score,
    precision_recall as precision_recall,
)
from .image import CONVENTIONS as CONVENTIONS, luma as luma, psnr as psnr, ssim as ssim
from .intervals import Interval as Interval, bootstrap as bootstrap, wilson as wilson
