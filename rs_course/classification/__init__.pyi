from . import (
    augment as augment,
    classifiers as classifiers,
    controls as controls,
    evaluation as evaluation,
    experiment as experiment,
    recipes as recipes,
    sets as sets,
    training as training,
)
from .sets import compose as compose, real_shots as real_shots
from .classifiers import build as build, load as load
from .controls import (
    duplicates as duplicates,
    leakage as leakage,
    nearest as nearest,
    pre_event_control as pre_event_control,
    shuffled_labels as shuffled_labels,
)
from .evaluation import Scores as Scores, evaluate as evaluate, spread as spread
from .experiment import Task as Task, run_task as run_task
from .recipes import clip_filter as clip_filter, soft_targets as soft_targets
from .sets import Tiles as Tiles
from .training import fit as fit, predict as predict
