"""What the figures and the table about generators show is what the stored results say."""

import json

import matplotlib
import numpy as np
import pytest
from checkpoints.tiny import write_checkpoint

matplotlib.use("agg")

from matplotlib import pyplot as plt

from rs_course import checkpoints, diffusion, widgets
from rs_course.metrics import wilson
from rs_course.sampling import figures


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_guidance_draws_intervals_and_the_true_tiles():
    figure = figures.guidance(
        [1, 4],
        [6, 27],
        [[0.3, 0.5], [0.1, 0.1]],
        trials=30,
        reference=(32, 40, [0.2, 0.4]),
        provenance="generated · x",
    )
    left, right = figure.axes
    line = left.lines[0]
    np.testing.assert_allclose(line.get_ydata().astype(float), [0.2, 0.9])
    (bars,) = left.collections
    low = [segment[0][1] for segment in bars.get_segments()]
    np.testing.assert_allclose(low, [wilson(6, 30).low, wilson(27, 30).low])
    np.testing.assert_allclose(right.lines[0].get_ydata().astype(float), [0.4, 0.1])
    (bars,) = right.collections
    heights = [float(high[1] - low[1]) for low, high in bars.get_segments()]
    np.testing.assert_allclose(heights, [2 * 1.96 * 0.1, 0])
    np.testing.assert_allclose([axis.lines[-1].get_ydata()[0] for axis in (left, right)], [0.8, 0.3])
    bands = [axis.patches[0].get_extents().transformed(axis.transData.inverted()) for axis in (left, right)]
    np.testing.assert_allclose(bands[0].intervaly, [wilson(32, 40).low, wilson(32, 40).high])
    np.testing.assert_allclose(bands[1].intervaly, [0.3 - 1.96 * 0.1, 0.3 + 1.96 * 0.1])


def test_obedience_has_a_panel_and_a_correlation_per_field():
    row = {
        "values": [1, 6, 12],
        "simulator": [0, 2, 1],
        "generated": [0, 1, 1],
        "measure": "m",
        "correlation": 0.87,
        "tiles per value": 36,
    }
    figure = figures.obedience({"month": row, "gsd": {**row, "correlation": -0.1}}, provenance="computed")
    titles = [axis.get_title(loc="left") or axis.get_title() for axis in figure.axes]
    assert titles == ["r = 0.87", "r = -0.10"]


def _setting(sampler, steps, low, high):
    return json.dumps({"sampler": sampler, "steps": steps, "guidance_interval": [low, high]})


def test_speed_counts_evaluations_and_names_every_variant():
    rate = {"images_per_s": 2.0, "times_plain": 1.5}
    record = {
        "equal_steps": {"steps": 50, "16": {"plain": rate, "bf16": rate}},
        "equal_quality": {
            "fid": {
                "plain, 50 steps": 0.2,
                "real against real": 0.1,
                _setting("unipc", 8, 0.0, 1.0): 0.4,
                _setting("dpmsolver++", 10, 0.2, 0.8): 0.2,
            },
            "chosen": json.loads(_setting("dpmsolver++", 10, 0.2, 0.8)),
            "speed": {"16": {"engine": {**rate, "times_plain": 6.0}}},
        },
    }
    left, right = figures.speed(record, provenance="computed").axes
    points = {line.get_label(): line.get_xdata()[0] for line in left.lines[:2]}
    assert points == {"unipc": 16, "dpmsolver++": 16}
    assert [bar.get_width() for bar in right.patches] == [1.5, 1.5, 6.0]
    assert [text.get_text() for text in left.texts] == [
        "8 steps,\nguided 0–1",
        "10 steps,\nguided 0.2–0.8",
    ]
    assert right.get_yticklabels()[-1].get_text() == "FID as low: dpmsolver++, 10 steps,\nguided 0.2–0.8"


def test_the_quality_table_shows_generated_beside_real():
    ask = {"sampler": "DDIMScheduler", "steps": 8, "guidance": 4.0, "guidance_interval": [0.0, 0.5]}
    part = {
        "checkpoint": "mini-x",
        "settings": ask | {"guidance": 1.5},
        "tiles": {"generated": 1200, "as many real": 1100, "test": 2000},
        "recognised": {"seeds": [0.8, 0.9]},
        "guided": {"settings": ask, "tiles": 300, "recognised": {"seeds": [0.9, 0.9]}},
        "recognised real test tiles": {"seeds": [0.95, 0.95]},
        "recognised real test tiles through mini-vae": {"seeds": [0.7, 0.8]},
        "classification accuracy score": {"generated": [0.5, 0.7], "real": [0.8, 0.8], "ratio": 0.75},
        "memorisation": {"nearer than 99.9 % of unseen real": 0.002},
    } | {
        k: {"generated": 2.0, "real": 0.5}
        for k in ("fid", "fid within a class", "kid", "precision", "recall")
    }
    made = {"features": "mini-judge", "classifier": "tiny-cnn, seeds 0, 1", "command": "python x.py"}
    table = figures.quality_table({"eurosat": part, "made by": made})
    assert "|  | eurosat: mini-x | eurosat: real tiles |" in table
    assert "| tiles | 1,200 | 1,100 |" in table
    assert "recognised, % ± sd over seeds | 85.0 ± 7.1 | 95.0 ± 0.0 |" in table
    assert "| … true tiles through the autoencoder |  | 75.0 ± 7.1 |" in table and "ceiling" not in table
    assert "| ddim, 8 steps, guidance 4 from 0 to 0.5 of the way |" in table
    assert "share of real, % | 75.0 | 100 |" in table
    assert "| FID | 2 | 0.5 |" in table
    who = table.splitlines()[-1]
    assert all(part in who for part in (*made.values(), "2,000 unseen tiles", "trained on real", "without ±"))
    assert "| 0.20 | 0.10 |" in table


def test_the_conditioning_table_shows_agreement_and_what_chance_gives():
    told = {"pixels": [0.8, 0.75, 0.85], "road F1": 0.6}
    more = {"pixels": [0.12, 0.08, 0.16], "road F1": [0.05, -0.01, 0.11]}
    arms = {"true tiles (ceiling)": told, "road": told | {"more than by those": more}}
    ceiling, road = figures.conditioning_table({"maps": {"arms": arms}}).splitlines()[2:]
    assert ceiling == "| true tiles (ceiling) | 80 % [75, 85] | 0.60 |  |"
    assert road == "| road | 80 % [75, 85] | 0.60 | +12 [8, 16] points; F1 +0.05 [-0.01, 0.11] |"


def test_the_explorer_crosses_two_axes_and_survives_the_same_one_twice(tmp_path):
    generator = checkpoints.load(write_checkpoint(tmp_path / "sat"))
    generator.settings["steps"] = 1
    panel = widgets.grid_explorer(generator, ["a river", "a lake"], provenance="generated · tiny")
    first = panel.picture.value
    panel.controls["down"].value = "month"
    second = panel.picture.value
    panel.controls["across"].value = "month"
    third = panel.picture.value
    panel.controls["prompt"].value = "a lake"
    assert len({first, second, third, panel.picture.value}) == 4


def test_ways_of_ddpm_part_from_one_start_and_those_of_ddim_stay_together():
    mixture, schedule = diffusion.GaussianMixture.ring(), diffusion.linear()
    figure = diffusion.figures.ways_from(
        (1.4, 0.0),
        mixture.denoiser(schedule),
        schedule,
        provenance="computed · a mixture",
        behind=mixture.sample(20, seed=0)[0],
    )
    ddpm, ddim = (np.array([line.get_xydata() for line in axis.lines[:6]]) for axis in figure.axes)
    assert ddpm.shape == ddim.shape == (6, 51, 2)
    assert (ddpm[:, 0] == [1.4, 0.0]).all() and (ddim[0, 0] == [1.4, 0.0]).all()
    assert len(np.unique(ddim[:, 0], axis=0)) == 6
    assert np.ptp(ddim[:, -1], axis=0).max() < 1 < np.ptp(ddpm[:, -1], axis=0).max()
