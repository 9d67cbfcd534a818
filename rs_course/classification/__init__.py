"""Is synthetic data ready for classification? Arms, recipes, controls and statistics to find out.

>>> from rs_course import classification
>>> row = classification.run_task({"dataset": "simulated", "arm": "real", "steps": 50})  # doctest: +SKIP

Recipes and arms follow He et al. 2023 ("Is synthetic data from generative models ready for image
recognition?", ICLR, arXiv 2210.07574) and the course's own protocol; the controls are what both lack.
"""

from rs_course import lazy

_HOME = {
    "Task": "experiment",
    "run_task": "experiment",
    "fit": "training",
    "predict": "training",
    "build": "classifiers",
    "Tiles": "sets",
    "compose": "arms",
    "real_shots": "arms",
    "evaluate": "evaluation",
    "Scores": "evaluation",
    "spread": "statistics",
    "paired_difference": "statistics",
    "clip_filter": "recipes",
    "soft_targets": "recipes",
    "leakage": "controls",
    "nearest": "controls",
    "duplicates": "controls",
    "shuffled_labels": "controls",
    "pre_event_control": "controls",
}
_SUBMODULES = (
    "arms",
    "augment",
    "classifiers",
    "controls",
    "evaluation",
    "experiment",
    "inputs",
    "making",
    "prompts",
    "recipes",
    "sets",
    "statistics",
    "training",
    "tuning",
)

__getattr__, __dir__ = lazy.attach(__name__, _HOME, _SUBMODULES)
