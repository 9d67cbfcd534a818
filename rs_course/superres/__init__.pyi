from . import (
    baselines as baselines,
    conv_lora as conv_lora,
    degradation as degradation,
    distillation as distillation,
    efdn as efdn,
    generative as generative,
    inference as inference,
    inputs as inputs,
    learning as learning,
    loading as loading,
    quality as quality,
    resize as resize,
    scenes as scenes,
    span as span,
)
from .efdn import EFDN as EFDN
from .inference import upscale as upscale
from .loading import build as build, load as load
from .resize import imresize as imresize
from .span import SPAN as SPAN
