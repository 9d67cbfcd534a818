"""From rows to verdicts, lines and a page; the rows are drawn here, so that the truth is known."""

import re

import numpy as np
import pandas as pd
import pytest

from rs_course import study
from rs_course.classification import evaluation
from rs_course.study import comparisons, freezing, hypotheses, plan, report, results

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


def _hypothesis(better, worse, budget=4, **more):
    return {"name": "x", "text": "…", "better": better, "worse": worse, "real_per_class": budget, **more}


@pytest.mark.parametrize(
    ("better", "worse", "verdict"),
    [
        ({"arm": "mixed", "ratio": 4, "recipe": "basic"}, {"arm": "real"}, hypotheses.SHOWN),
        ({"arm": "shuffled"}, {"arm": "real"}, hypotheses.CONTRADICTED),
        ({"arm": "duplicate"}, {"arm": "duplicate"}, hypotheses.NOT_SHOWN),
        ({"arm": "cycle-gan"}, {"arm": "real"}, hypotheses.MISSING),
        ({"arm": "synthetic", "real_per_class": 16}, {"chance": 0.25}, hypotheses.SHOWN),
        ({"arm": "synthetic", "real_per_class": 16}, {"chance": 0.7}, hypotheses.CONTRADICTED),
    ],
)
def test_verdicts_follow_the_interval(ledger, better, worse, verdict):
    (found,) = hypotheses.judge(ledger, [_hypothesis(better, worse)])
    assert found.verdict == verdict and str(found).startswith(verdict)


def test_a_study_that_is_half_done_is_compared_on_the_seeds_that_both_sides_have(ledger):
    rows = comparisons.complete(ledger)
    half = rows[~((rows["seed"] == 0) & (rows["arm"] == "duplicate"))]
    sides = {"arm": "duplicate", "real_per_class": 4}, {"arm": "real", "real_per_class": 4}
    assert np.array_equal(
        comparisons.paired(half, *sides), comparisons.paired(rows[rows["seed"] > 0], *sides)
    )


def test_what_does_not_pair_is_refused(ledger):
    rows = comparisons.complete(ledger)
    with pytest.raises(ValueError, match="several rows of one seed match: say which real_per_class"):
        comparisons.paired(rows, {"arm": "duplicate"}, {"arm": "real"})
    at = rows[rows["real_per_class"] == 4]
    moved = at.assign(test_hash=np.where(at["arm"] == "real", "other", "t"))
    with pytest.raises(ValueError, match="tested on different images"):
        comparisons.paired(moved, {"arm": "duplicate"}, {"arm": "real"})
    later = at.assign(seed=np.where(at["arm"] == "real", at["seed"] + 7, at["seed"]))
    with pytest.raises(ValueError, match="no seed in common"):
        comparisons.paired(later, {"arm": "duplicate"}, {"arm": "real"})
    with pytest.raises(ValueError, match="no column 'colour'"):
        comparisons.select(rows, colour="red")


def test_the_page_holds_every_verdict_and_every_figure(ledger, tmp_path):
    ledger.to_parquet(tmp_path / results.LEDGER)
    mixed = {"arm": "mixed", "ratio": 4, "recipe": "basic"}
    described = {
        "title": "A drawn study", "function": "f", "inputs": {"data": ["simulated"]},
        "hashes": dict.fromkeys(("code", "data", "checkpoint"), "0123456789"),
        "ids": [*ledger["id"], "missing"],
        "extra": {
            "question": "Does it help?",
            "hypotheses": [_hypothesis(mixed, {"arm": "real"}, [4, 16], text="Generated tiles help")],
            "lines": [{"label": "real", "where": {"arm": "real"}}, {"label": "mixed", "where": mixed}],
        },
    }  # fmt: skip
    results.write(tmp_path / "study.json", described)
    found = study.finished(tmp_path)
    assert {label: len(rows) for label, rows in found.lines().items()} == {"real": 6, "mixed": 6}
    assert {label: len(rows) for label, rows in found.lines(16).items()} == {"real": 3, "mixed": 3}
    page = report.write(tmp_path).read_text(encoding="utf-8")
    assert len(re.findall(r"\| (4|16) \| Generated tiles help \| \+1\d\.\d \[.*\| \*\*shown\*\*", page)) == 2
    assert "**Preliminary: 1 of 40 runs are not done.**" in page
    assert re.search(r"\| mixed \| 16 \| 4 \| clip-filter \| \d\d\.\d ± \d\.\d \|", page)
    for name in ("learning_curves", "controls", "confusions", "verdicts"):
        assert (tmp_path / "report" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert f"({name}.png)" in page
    found.require("x")
    with pytest.raises(ValueError, match="has no rows for the hypothesis 'loss'"):
        found.require("x", "loss")


def test_the_page_of_a_shipped_study_is_written_where_one_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = report.write("is_it_ready")
    assert page.resolve() == tmp_path / "runs" / "is_it_ready" / "report" / "report.md"
    assert not (results.shipped("is_it_ready") / "report").exists()


def test_a_study_without_lines_shows_its_arms(ledger, tmp_path):
    ledger.to_parquet(tmp_path / results.LEDGER)
    described = {"title": "x", "inputs": {}, "hashes": {"checkpoint": "none"}, "ids": [], "extra": {}}
    results.write(tmp_path / "study.json", described)
    assert list(study.finished(tmp_path).lines()) == list(ledger["arm"].unique())
    with pytest.raises(FileNotFoundError, match="no study was run in"):
        study.finished(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["simulated_fast", "disaster"])
def test_shipped_studies_are_sound(name):
    """Every task is one that the classification takes, every set is described, and every hypothesis names one
    row for each seed on both sides; every line has rows.
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
    for verdict in hypotheses.judge(rows, shipped.extra["hypotheses"]):
        assert verdict.difference is not None and verdict.difference.seeds >= 2, verdict
    found = study.Finished(None, {"extra": shipped.extra}, rows, freezing.read("nowhere"))
    assert set(found.lines()) == {line["label"] for line in shipped.extra["lines"]}
    assert study.read(name) == shipped
