"""A generator exported as ONNX draws what the package draws, and the table of its sampler is the sampler."""

import json

import numpy as np
import pytest
import torch

from rs_course import checkpoints, cli, datasets

pytest.importorskip("onnxscript", reason="needs the extra `book` (make book installs it)")
onnxruntime = pytest.importorskip("onnxruntime")

from rs_course.checkpoints import export  # noqa: E402 (its libraries may be missing)

_PROMPTS = {label: datasets.class_prompt(label) for label in ("River", "Forest")}


@pytest.fixture(scope="module")
def sat():
    return checkpoints.load("mini-diffusionsat")


def run_table(table, predict, x, guidance):
    """What a program without Python does with the table: the formulas of the module's head."""
    before = np.zeros_like(x)
    for row in table:
        untold, told = predict(np.concatenate([x, x]), np.float32([row["t"]] * 2))
        v = untold + guidance * (told - untold)
        x0 = row["p"] * x + row["q"] * v
        x, before = (row["a"] * x + row["b"] * x0 + row["c"] * before).astype(np.float32), x0
    return x


@pytest.mark.slow
def test_the_graphs_draw_what_the_package_draws(sat, tmp_path):
    path = export.export(sat, tmp_path / "out", name="mini-diffusionsat", prompts=_PROMPTS, steps=[4])
    stored = json.loads(path.read_text(encoding="utf-8"))
    assert set(stored["steps"]) == {"4", str(sat.defaults["steps"])}
    latents = torch.randn(1, *stored["latents"], generator=torch.Generator().manual_seed(5))
    denoiser, decoder = (
        onnxruntime.InferenceSession(path.parent / name) for name in ("denoiser.onnx", "decoder.onnx")
    )
    label, month = 1, 7
    told, untold = stored["conditions"], stored["unconditional"]
    text = np.float32([untold["text"][0], told["text"][label]])
    extra = np.float32([untold["metadata"][0], told["metadata"][month - 1]])

    def predict(x, t):
        return denoiser.run(None, {"latents": x, "t": t, "text": text, "extra": extra})[0][:, None]

    x = run_table(stored["steps"]["4"], predict, latents.numpy(), 3.0)
    (drawn,) = decoder.run(None, {"latents": x})
    place = {
        "lon": 9.0,
        "lat": 48.5,
        "gsd": 10.0,
        "cloud_cover": 0.0,
        "year": 2021,
        "month": month,
        "day": 15,
    }
    wanted = sat.sample(_PROMPTS["Forest"], metadata=place, latents=latents, steps=4, guidance=3.0)
    assert np.abs(drawn - wanted.numpy()).max() < 1e-3
    assert wanted.std() > 0.02


@pytest.mark.parametrize("sampler", [None, "ddim", "dpmsolver++"])
@pytest.mark.parametrize("count", [1, 4, 7])
def test_the_table_is_the_sampler(sat, sampler, count):
    """On numbers that the table has not seen, with the network's answer a fixed function of its input."""
    from rs_course.checkpoints.families import FAMILIES
    from rs_course.sampling.samplers import make_sampler, step

    x = start = torch.randn(32, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    scheduler, eta = make_sampler(sat.scheduler, sampler, 0.0, FAMILIES[sat.family].solver_options)
    scheduler.set_timesteps(count)
    for index, t in enumerate(scheduler.timesteps):
        x = step(scheduler, torch.sin(3 * x + t), t, x, eta, None, index)
    y, before = start.numpy(), np.zeros(32)
    for row in export.sampler_table(sat, sampler, count):
        y0 = row["p"] * y + row["q"] * np.sin(3 * y + row["t"])
        y, before = row["a"] * y + row["b"] * y0 + row["c"] * before, y0
    assert np.allclose(x.numpy(), y, atol=1e-5)


def test_what_cannot_be_exported_is_refused(sat, tmp_path, capsys):
    for sampler in ("sde-dpmsolver++", "ddpm"):
        with pytest.raises(ValueError, match="adds noise"):
            export.sampler_table(sat, sampler, 4)
    with pytest.raises(ValueError, match="scales what the network sees"):
        export.sampler_table(sat, "euler", 4)
    with pytest.raises(ValueError, match="choose another sampler"):
        export.sampler_table(sat, "unipc", 6)
    assert cli.main(["export", "mini-crsdiff", "--out", str(tmp_path / "out")]) == 1
    assert "draws from pictures too" in capsys.readouterr().err
    assert cli.main(["export", "mini-diffusionsat", "--out", str(tmp_path / "out"), "--steps", "0"]) == 1
    assert not (tmp_path / "out").exists()
