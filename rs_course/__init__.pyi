from . import (
    alignment as alignment,
    check as check,
    checkpoints as checkpoints,
    classification as classification,
    datasets as datasets,
    diffusion as diffusion,
    generation as generation,
    grading as grading,
    metrics as metrics,
    plots as plots,
    quiz as quiz,
    sampling as sampling,
    simulated_earth as simulated_earth,
    study as study,
    superres as superres,
    toys as toys,
    training as training,
    widgets as widgets,
)

__version__: str
