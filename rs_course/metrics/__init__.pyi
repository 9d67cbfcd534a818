from . import (
    distribution as distribution,
    image as image,
    inception as inception,
    lpips as lpips,
)
from .distribution import (
    FeatureStatistics as FeatureStatistics,
    Interval as Interval,
    PrecisionRecall as PrecisionRecall,
    bootstrap as bootstrap,
    classification_accuracy_score as classification_accuracy_score,
    cmmd as cmmd,
    fid as fid,
    fid_infinity as fid_infinity,
    frechet_distance as frechet_distance,
    inception_score as inception_score,
    kid as kid,
    precision_recall as precision_recall,
    wilson as wilson,
)
from .image import CONVENTIONS as CONVENTIONS, luma as luma, psnr as psnr, ssim as ssim
