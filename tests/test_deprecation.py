"""Old names work, and say what they are called now."""

import subprocess
import sys
import warnings

import pytest
import torch

from rs_course import alignment, checkpoints, classification, datasets, diffusion, fetching, superres
from rs_course.alignment import corruptions


@pytest.mark.parametrize(
    ("ask", "new"),
    [
        (lambda: alignment.changes, "rs_course.alignment.corruptions"),
        (lambda: classification.arms, "rs_course.classification.sets"),
        (lambda: superres.span, "rs_course.superres.networks"),
        (lambda: datasets.events, "rs_course.datasets.disasters"),
        (lambda: checkpoints.drawing, "rs_course.checkpoints.maps"),
        (lambda: classification.held_out, "rs_course.classification.controls"),
        (lambda: classification.tuning, "rs_course.classification.training"),
        (lambda: datasets.diffusionsat, "rs_course.datasets.simulated"),
        (lambda: diffusion.guidance, "rs_course.diffusion.samplers"),
        (lambda: diffusion.timesteps, "rs_course.diffusion.schedules"),
    ],
)
def test_a_module_by_its_old_name(ask, new):
    with pytest.warns(DeprecationWarning, match=f"is called {new} now; the old name goes"):
        assert ask().__name__ == new


@pytest.mark.parametrize(
    "name", ["alignment.corruptions", "datasets.simulated", "study.figures", "study.freezing"]
)
def test_the_new_name_of_a_module_is_found_in_its_room(name):
    code = "import sys, importlib; room, name = sys.argv[1].split('.'); "
    code += "getattr(importlib.import_module('rs_course.' + room), name)"
    subprocess.run([sys.executable, "-c", code, name], check=True)


def test_a_function_and_an_argument_by_their_old_names():
    with pytest.warns(DeprecationWarning, match="corruptions.please is called"):
        assert corruptions.please is corruptions.pgd_attack
    with pytest.warns(DeprecationWarning, match="samplers.sample is called"):
        assert diffusion.samplers.sample is diffusion.library_sample
    with pytest.warns(
        DeprecationWarning, match=r"denoiser\(predicts=\) is called prediction_type= now"
    ) as told:
        denoise = diffusion.denoiser(lambda xt, t: xt, diffusion.linear(), predicts="x0")
    assert told[0].filename == __file__  # the line that is to be changed
    assert torch.equal(denoise(torch.ones(1, 2), 500)[0], torch.ones(1, 2))


def test_fetch_takes_progress_by_its_old_name(monkeypatch):
    lines = []
    monkeypatch.setattr(fetching.registry.Entry, "local_files", lambda self: [1])
    monkeypatch.setattr(fetching.registry.Entry, "fallback", lambda self: False)
    monkeypatch.setattr(fetching.registry, "require", lambda name: [1])
    with pytest.warns(DeprecationWarning, match=r"fetch\(say=\) is called progress= now"):
        fetching.fetch("eurosat", say=lines.append)
    assert len(lines) == 1


def test_new_names_are_silent_and_unknown_ones_are_refused():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        diffusion.denoiser(lambda xt, t: xt, diffusion.linear(), prediction_type="x0")
        assert superres.networks and alignment.load
    for module in (superres, alignment, datasets, corruptions):
        with pytest.raises(AttributeError, match="nothing"):
            module.nothing  # noqa: B018


def test_the_old_arguments_of_a_classifiers_training_work():
    images, labels = torch.zeros(4, 3, 8, 8), torch.tensor([0, 1, 0, 1])
    with pytest.warns(DeprecationWarning, match=r"fit\(rate=\) is called lr= now"):
        classification.fit(images, labels, steps=1, rate=1e-3, seed=0)
