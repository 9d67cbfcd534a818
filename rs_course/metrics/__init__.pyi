from . import image as image, inception as inception, lpips as lpips
from .fidelity import (
    classification_accuracy_score as classification_accuracy_score,
    inception_score as inception_score,
)
from .features import FeatureStatistics as FeatureStatistics
from .distances import fid as fid, fid_infinity as fid_infinity, frechet_distance as frechet_distance
from .image import CONVENTIONS as CONVENTIONS, luma as luma, psnr as psnr, ssim as ssim
from .intervals import Interval as Interval, bootstrap as bootstrap, wilson as wilson
from .distances import cmmd as cmmd, kid as kid
from .fidelity import PrecisionRecall as PrecisionRecall, precision_recall as precision_recall
