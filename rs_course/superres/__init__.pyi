from . import (
    baselines as baselines,
    conv_lora as conv_lora,
    degradation as degradation,
    learning as learning,
    loading as loading,
    networks as networks,
    quality as quality,
)
from .degradation import imresize as imresize
from .loading import build as build, load as load, upscale as upscale
from .networks import EFDN as EFDN, SPAN as SPAN
