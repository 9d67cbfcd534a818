"""Is synthetic data ready for classification? Arms, recipes, controls and statistics to find out.

>>> from rs_course import classification
>>> row = classification.run_task({"dataset": "simulated", "arm": "real", "steps": 50})  # doctest: +SKIP

Recipes and arms follow He et al. 2023 ("Is synthetic data from generative models ready for image
recognition?", ICLR, arXiv 2210.07574) and the course's own protocol; the controls are what both lack.
"""

import lazy_loader

from rs_course.deprecation import old_names

_RENAMED = {
    "arms": "sets", "inputs": "sets", "prompts": "recipes", "shifts": "evaluation",
    "statistics": "evaluation", "held_out": "controls", "tuning": "training",
}  # fmt: skip
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__getattr__ = old_names(__name__, _RENAMED, __getattr__)
