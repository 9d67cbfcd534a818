from . import figures as figures, images as images, maps as maps
from .loading import load as load
from .prompts import normalize_metadata as normalize_metadata
from .text2earth import load_enhancer as load_enhancer, outpaint as outpaint
