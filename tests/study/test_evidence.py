"""From rows to differences, verdicts and a page; the rows are drawn here, so that the truth is known."""

import re

import numpy as np
import pandas as pd
import pytest

from rs_course import study
from rs_course.classification import evaluation
from rs_course.study import claims, evidence, panels, plan, report, results

_T = 400


def _row(arm, budget, seed, accuracy, *, skill=None, **settings):
    """A row whose test images are right with a probability; rows of one seed share their luck."""
    luck = np.random.default_rng(1000 + seed).random(_T)
    correct = luck < accuracy
    side = 4
    confusion = np.full((side, side), 5) + np.eye(side, dtype=int) * 80
    return {
        "id": f"{arm}{budget}{seed}{settings}", "arm": arm, "real_per_class": budget, "seed": seed,
        "dataset": "simulated", "accuracy": correct.mean(), "macro_f1": correct.mean(), "n_test": _T,
        "correct": evaluation.pack(correct), "test_hash": "t",
        "n_real": 0 if arm == "synthetic" else 4 * budget,
        "n_synthetic": int(4 * budget * settings.get("ratio", 0)), "confusion": confusion.ravel().tolist(),
        "class_names": list("abcd"), **settings,
    }  # fmt: skip


@pytest.fixture(scope="module")
def ledger():
    rows = []
    for seed in range(3):
        for budget, real in {4: 0.5, 16: 0.7}.items():
            rows.append(_row("real", budget, seed, real))
            for ratio in (1.0, 4.0):
                rows.append(_row("mixed", budget, seed, real + 0.04 * ratio, ratio=ratio))
            rows.append(_row("duplicate", budget, seed, real + 0.01, ratio=4.0))
            rows.append(_row("shuffled", budget, seed, real - 0.2, ratio=4.0))
            rows.append(_row("mixed", budget, seed, real + 0.1, ratio=4.0, recipe="clip-filter"))
        rows.append(_row("synthetic", 16, seed, 0.4, ratio=4.0))
    return pd.DataFrame(rows)


def test_a_difference_is_that_of_the_means_and_its_interval_holds_the_truth(ledger):
    rows = evidence.complete(ledger)
    found = evidence.compare(
        rows, {"arm": "mixed", "ratio": 4, "recipe": "basic"}, {"arm": "real"}, per="real_per_class"
    )
    means = rows.groupby(["arm", "ratio", "recipe"])["accuracy"].mean()
    expected = means["mixed", 4.0, "basic"] - means["real", 1.0, "basic"]
    assert found.overall.estimate == pytest.approx(expected)
    assert found.overall.low < 0.16 < found.overall.high
    assert set(found.cells) == {4, 16}
    assert found.error_removed == pytest.approx(expected / (1 - means["real", 1.0, "basic"]))


@pytest.mark.parametrize(
    ("better", "worse", "verdict"),
    [
        ({"arm": "mixed", "ratio": 4, "recipe": "basic"}, {"arm": "real"}, claims.SHOWN),
        ({"arm": "shuffled"}, {"arm": "real"}, claims.CONTRADICTED),
        ({"arm": "duplicate"}, {"arm": "duplicate"}, claims.NOT_SHOWN),
        ({"arm": "cycle-gan"}, {"arm": "real"}, claims.MISSING),
        ({"arm": "synthetic"}, {"chance": 0.25}, claims.SHOWN),
        ({"arm": "synthetic"}, {"chance": 0.7}, claims.CONTRADICTED),
    ],
)
def test_verdicts_follow_the_interval(ledger, better, worse, verdict):
    claim = {"text": "…", "better": better, "worse": worse}
    (finding,) = claims.judge(
        ledger, [claim | ({} if "synthetic" in better.values() else {"per": "real_per_class"})]
    )
    assert finding.verdict == verdict
    assert str(finding).startswith(verdict)


def test_a_study_that_is_half_done_is_compared_on_the_seeds_that_every_cell_has(ledger):
    rows = evidence.complete(ledger)
    half = rows[~((rows["seed"] == 0) & (rows["real_per_class"] == 16) & (rows["arm"] == "duplicate"))]
    sides = {"arm": "duplicate"}, {"arm": "real"}
    found = evidence.compare(half, *sides, per="real_per_class")
    same = evidence.compare(rows[rows["seed"] > 0], *sides, per="real_per_class")
    assert found == same
    assert found.overall.n == 2


def test_what_does_not_pair_is_refused(ledger):
    rows = evidence.complete(ledger)
    with pytest.raises(ValueError, match="several rows of one seed match: say which real_per_class"):
        evidence.compare(rows, {"arm": "mixed"}, {"arm": "real"})
    moved = rows.assign(test_hash=np.where(rows["arm"] == "real", "other", "t"))
    with pytest.raises(ValueError, match="tested on different images"):
        evidence.compare(moved, {"arm": "duplicate"}, {"arm": "real"}, per="real_per_class")
    later = rows.assign(seed=np.where(rows["arm"] == "real", rows["seed"] + 7, rows["seed"]))
    with pytest.raises(ValueError, match="no seed in common"):
        evidence.compare(later, {"arm": "duplicate"}, {"arm": "real"}, per="real_per_class")
    with pytest.raises(ValueError, match="no column 'colour'"):
        evidence.select(rows, colour="red")
    with pytest.raises(ValueError, match="claim 1 lacks better, worse"):
        claims.judge(rows, [{"text": "nothing"}])


def test_the_page_holds_every_finding_and_every_figure(ledger, tmp_path):
    ledger.to_parquet(tmp_path / results.LEDGER)
    said = {"text": "Generated tiles help", "source": "us", "per": "real_per_class",
            "better": {"arm": "mixed", "ratio": 4, "recipe": "basic"}, "worse": {"arm": "real"}}  # fmt: skip
    described = {
        "title": "A drawn study", "function": "f", "inputs": {"data": ["simulated"]},
        "hashes": dict.fromkeys(("code", "data", "checkpoint"), "0123456789"),
        "ids": [*ledger["id"], "missing"], "extra": {"question": "Does it help?", "claims": [said]},
    }  # fmt: skip
    results.write_json(tmp_path / "study.json", described)
    page = report.write(tmp_path).read_text(encoding="utf-8")
    assert "Of 1 claims: 1 shown." in page
    assert "| **shown** | Generated tiles help | +1" in page
    assert "**1 of 40 runs are not done.**" in page
    assert re.search(r"\| mixed \| 16 \| 4 \| clip-filter \| \d\d\.\d ± \d\.\d \|", page)
    for name in panels.PANELS:
        picture = (tmp_path / "report" / f"{name}.png").read_bytes()
        assert picture.startswith(b"\x89PNG")
        assert f"({name}.png)" in page


def test_two_synthetic_sets_are_drawn_side_by_side(ledger):
    """As in the disaster study, where each ratio comes twice: nothing may be averaged over both sets."""
    mixed = ledger["arm"].isin(["mixed", "synthetic", "shuffled"])
    first = ledger.assign(synthetic=np.where(mixed, "@painted", None))
    second = ledger[ledger["arm"].isin(["mixed", "synthetic"])].assign(synthetic="@guided")
    rows = evidence.complete(pd.concat([first, second], ignore_index=True))
    assert list(panels.by_set(evidence.complete(first))) == [""]
    assert list(panels.by_set(rows)) == [", painted", ", guided"]
    curves = panels.lines(panels.main_rows(rows))
    assert len(curves["real + 4 × synthetic, painted"]) == len(curves["real + 4 × synthetic, guided"]) == 6
    for name, panel in panels.PANELS.items():
        assert panel(panels.main_rows(rows)).axes, name
    legend = panels.gains(panels.main_rows(rows)).axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == [
        "1:1, painted", "1:4, painted", "1:1, guided", "1:4, guided",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["simulated_fast", "disaster", "eurosat"])
def test_shipped_studies_are_sound(name):
    """Every task is one that the classification takes, every set is described, and every claim names one row
    for each seed on both sides.
    """
    from rs_course.classification.experiment import Task
    from rs_course.study.sets import Sets

    shipped = plan.read(name)
    own = Sets(shipped.extra["sets"], "nowhere")
    for task in shipped.tasks:
        Task.of(task)
        for key, value in task.items():
            if isinstance(value, str) and value.startswith("@"):
                assert value[1:].split("/")[0] in own.described, key
    tasks = pd.DataFrame(shipped.tasks)
    rows = tasks.assign(
        n_test=8, correct=[evaluation.pack(np.ones(8))] * len(tasks), test_hash=tasks["dataset"]
    )
    for finding in claims.judge(rows, shipped.extra["claims"], resamples=2):
        assert finding.comparison is not None, finding
        assert finding.comparison.overall.n >= 2, finding
    assert study.read(name) == shipped


def test_the_eurosat_study_has_every_arm_budget_ratio_and_recipe():
    """What the course promises of it, so that a shorter grid cannot lose an arm unnoticed."""
    from rs_course.classification import augment, recipes, sets

    tasks = evidence.complete(pd.DataFrame(plan.read("eurosat").tasks))
    assert set(tasks["arm"]) == set(sets.ARMS)
    assert set(tasks["seed"]) >= {0, 1, 2}
    small = evidence.select(tasks, classifier="small-cnn", augment="flip+rotate")
    assert set(evidence.select(small, arm="real")["real_per_class"]) == set(sets.REAL_PER_CLASS)
    for arm in ("mixed", "synthetic"):
        assert set(evidence.select(small, arm=arm, real_per_class=100)["ratio"]) == set(sets.RATIOS)
    steps = {step for recipe in tasks["recipe"] for step in recipe.split("+")}
    assert steps == {*recipes.MAKING, *recipes.TEACHING}
    for arm in ("real", "mixed"):
        used = {step for names in evidence.select(tasks, arm=arm)["augment"] for step in names.split("+")}
        assert used >= set(augment.AUGMENTATIONS)
    assert {"clip-tuning", "linear-probe"} <= set(tasks["classifier"])
    compute = small.groupby("real_per_class")["steps"].nunique()
    assert (compute == 1).all(), "arms of one budget must have the same compute"
