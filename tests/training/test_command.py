"""``rs-course train``: names, times and what it says."""

import inspect
from importlib import import_module

import pytest

from rs_course.cli import main
from rs_course.commands.research import TRAINABLE, trainer


@pytest.mark.parametrize("name", TRAINABLE)
def test_every_trainable_model_takes_what_the_command_gives(name):
    parameters = inspect.signature(trainer(name)).parameters
    assert {"out", "minutes", "seed", "resume", "data"} <= parameters.keys()


def test_a_time_of_zero_is_refused(capsys):
    assert main(["train", "mini-vae", "--minutes", "0"]) == 1
    assert "give a time above zero" in capsys.readouterr().err


def test_an_unknown_model_is_named(capsys):
    with pytest.raises(SystemExit):
        main(["train", "mini-gan"])
    assert "mini-gan" in capsys.readouterr().err


def test_data_that_is_not_here_leads_to_the_command_that_fetches_it(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("RS_COURSE_CACHE", str(tmp_path))
    assert main(["train", "mini-vae", "--out", str(tmp_path / "out")]) == 1
    assert "rs-course fetch eurosat" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "batch", "sentence"),
    [
        ("mini-text2earth", "1", "--batch-size 1: give a number from 4 on"),
        ("mini-vae", "64", "mini-vae has no --batch-size"),
    ],
)
def test_a_batch_that_cannot_be_is_refused(name, batch, sentence, capsys):
    assert main(["train", name, "--batch", batch]) == 1
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["mini-clip", "--start", "mini-clip"], "mini-clip has no --start"),
        (["mini-diffusionsat", "--teacher", "mini-diffusionsat"], "mini-diffusionsat has no --teacher"),
        (["mini-ddpm", "--compile"], "--compile is for the latent minis, not for mini-ddpm"),
    ],
)
def test_an_option_of_other_trainings_is_refused(options, said, capsys):
    assert main(["train", *options]) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["vae.RECIPE", "vae.DECODER_RECIPE", "clip.RECIPE", "ddpm.RECIPE", "latent.RECIPE"]
)
def test_every_recipe_warms_up_clips_and_ends_with_small_steps(name):
    module, _, constant = name.partition(".")
    recipe = getattr(import_module(f"rs_course.training.{module}"), constant)
    assert recipe.decay(0.0) == 1 and recipe.decay(1.0) <= 0.02
    assert recipe.warmup >= 50 and recipe.clip_norm == 1.0
