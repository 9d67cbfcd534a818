from . import figures as figures, images as images, maps as maps
from .enhancement import load_enhancer as load_enhancer
from .load import load as load
from .metadata import normalize_metadata as normalize_metadata
from .outpainting import outpaint as outpaint
