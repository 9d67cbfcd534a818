"""Intervals against their formulas and by how often they cover; Holm; a verdict and a sentence per budget."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from rs_course.classification.evaluation import pack
from rs_course.study import hypotheses, plan
from rs_course.study.comparisons import interval, share


def test_where_seeds_dominate_it_is_students_t_over_seeds():
    rng = np.random.default_rng(0)
    d = np.repeat(rng.normal(0.05, 0.03, (5, 1)), 50, axis=1)  # images do not matter at all
    found, means = interval(d), d.mean(1)
    low, high = stats.t.interval(0.95, 4, means.mean(), stats.sem(means))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.p == pytest.approx(stats.ttest_1samp(means, 0).pvalue) and found.df == pytest.approx(4)


def test_one_seed_gives_the_interval_of_a_paired_mean():
    d = np.random.default_rng(1).integers(-1, 2, 400).astype(float)
    low, high = stats.t.interval(0.95, 399, d.mean(), stats.sem(d))
    found = interval(d)
    assert (found.low, found.high) == pytest.approx((low, high)) and found.seeds == 1


@pytest.mark.parametrize(("of_seed", "of_image"), [(0.05, 0.0), (0.0, 0.4), (0.02, 0.3)])
def test_it_covers_what_it_promises_with_five_seeds(of_seed, of_image):
    rng, covered, rounds = np.random.default_rng(2), 0, 400
    for _ in range(rounds):
        d = rng.normal(0, of_seed, (5, 1)) + rng.normal(0, of_image, 200) + rng.normal(0, 0.5, (5, 200))
        found = interval(d)
        covered += found.low <= 0 <= found.high
    assert 0.93 <= covered / rounds <= 1.0


def test_holm_is_the_step_down_procedure():
    assert hypotheses.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert hypotheses.holm([0.5, 0.9]) == pytest.approx([1.0, 1.0]) and hypotheses.holm([]) == []


def test_a_share_has_fiellers_interval_and_none_where_the_whole_may_be_nothing():
    rng = np.random.default_rng(3)
    whole = 0.1 + rng.normal(0, 0.3, (5, 400))
    estimate, low, high = share(0.5 * whole, whole)
    assert estimate == pytest.approx(0.5) and low <= 0.5 <= high and high - low < 0.02
    assert np.isnan(share(whole, whole - whole.mean())).all()
    # Seeds whose shares agree exactly leave no room; one of few seeds may leave more than three wholes.
    same = np.array([[-1.0, 0, 0, 0, 0, 0], [0, -1.0, 0, 0, 0, 0]])
    assert share(same, np.full((2, 6), 0.5)) == pytest.approx((-1 / 3,) * 3, abs=2e-3)
    loose = rng.normal(0, 40, (2, 1)) + np.zeros((2, 400))
    assert np.ptp(share(loose, np.full((2, 400), 0.5))) > 100


_TABLES = [
    {
        "name": "own",
        "text": "the k shots only",
        "short": "own",
        "better": {"arm": "b"},
        "worse": {"arm": "real"},
    },
    {"name": "all", "text": "saw all", "short": "all", "better": {"arm": "c"}, "worse": {"arm": "real"}},
]
_TABLES = [table | {"real_per_class": [1, 16]} for table in _TABLES]
_ANSWER = {"alone": "own", "borrowed": "all"}


def ledger(gains, *, seeds=5, images=1000):
    """Rows whose accuracy is 0.5 plus a gain: ``{(arm, budget): gain}``; images are shared by all."""
    rows = []
    for (arm, budget), gain in gains.items():
        for seed in range(seeds):
            luck = np.random.default_rng([seed, budget]).random(images)
            right = luck < 0.5 + gain
            rows.append(
                {"arm": arm, "real_per_class": budget, "seed": seed, "test_hash": "t", "n_test": images,
                 "accuracy": right.mean(), "correct": pack(right), "shift_names": ["haze 1"],
                 "shift_count": [images], "shift_correct": [pack(~right)]}
            )  # fmt: skip
    return pd.DataFrame(rows)


def test_every_budget_has_its_verdict_and_its_sentence():
    gains = {("real", 1): 0, ("b", 1): 0.1, ("c", 1): 0.2, ("real", 16): 0, ("b", 16): 0.0, ("c", 16): 0.1}
    rows = ledger(gains)
    found = {(v.name, v.budget): v for v in hypotheses.judge(rows, _TABLES)}
    verdicts = {key: v.verdict for key, v in found.items()}
    assert verdicts == {
        ("own", 1): "shown",
        ("all", 1): "shown",
        ("own", 16): "not shown",
        ("all", 16): "shown",
    }
    assert (
        found["own", 1].p == pytest.approx(4 * found["own", 1].difference.p, rel=1)
        and found["own", 16].p == 1
    )
    said = hypotheses.answers(list(found.values()), _ANSWER)
    assert said[1].startswith("Synthetic images beside 1 real image per class: yes, they help")
    assert (
        said[16].startswith(
            "Synthetic images beside 16 real images per class: shown only for a generator that saw more"
        )
        and "+10." in said[16]
    )
    # Several generators may have borrowed nothing; one that helps is enough.
    several = hypotheses.judge(rows, [*_TABLES, _TABLES[1] | {"name": "none"}])
    said = hypotheses.answers(several, {"alone": ["own", "none"], "borrowed": "all"})
    assert said[16].startswith("Synthetic images beside 16 real images per class: yes")
    kept = hypotheses.memory(rows, _TABLES, {}, "own", "all")
    assert kept[1][0] == pytest.approx(0.5, abs=0.05) and kept[16][0] == pytest.approx(0, abs=0.02)


def test_no_and_not_shown_are_answers_and_rows_that_lack_are_told():
    worse = ledger({("real", 1): 0, ("b", 1): -0.2, ("c", 1): 0})
    found = hypotheses.judge(worse, _TABLES)
    assert [v.verdict for v in found] == ["contradicted", "no rows", "not shown", "no rows"]
    assert "real_per_class = 16" in found[1].reason and str(found[0]).startswith(
        "contradicted: the k shots only"
    )
    said = hypotheses.answers(found, _ANSWER)
    assert list(said) == [1] and ": that they help is not shown, and some cost accuracy." in said[1]
    both = hypotheses.judge(ledger({("real", 1): 0, ("b", 1): -0.2, ("c", 1): -0.1}), _TABLES)
    assert ": no, they cost accuracy." in hypotheses.answers(both, _ANSWER)[1]
    half = hypotheses.judge(ledger({("real", 1): 0, ("c", 1): 0.1}), _TABLES)
    assert ": not known, because rows are missing (own)." in hypotheses.answers(half, _ANSWER)[1]


def test_rows_that_are_not_there_yet_do_not_make_the_others_count_for_more():
    rows = ledger({("real", 1): 0, ("b", 1): 0.02, ("c", 1): 0.02})
    found = hypotheses.judge(rows, _TABLES)
    assert [v.p for v in found if v.difference] == [min(1, 4 * found[0].difference.p)] * 2


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"hypotheses": [*_TABLES, _TABLES[0]]}, "two hypotheses are called 'own'"),
        ({"hypotheses": _TABLES, "answer": {"alone": "own"}}, r"\[answer\] lacks borrowed"),
        (
            {"hypotheses": _TABLES, "answer": {"alone": ["own", "x"], "borrowed": "all"}},
            "names 'x', which no",
        ),
        ({"answer": {"alone": "own", "borrowed": "all"}}, "names 'own', which no"),
        ({"lines": [{"label": "real"}]}, "line 1 lacks where"),
        ({"hypotheses": [{"name": "x", "text": "x", "worse": {}}]}, "hypothesis 1 lacks better"),
    ],
)
def test_tables_that_lack_something_are_refused_before_anything_is_run(tables, message):
    with pytest.raises(ValueError, match=message):
        plan.from_dict({"grid": [{"x": 1}], **tables})


def test_a_hypothesis_about_a_shift_is_judged_on_its_images():
    rows = ledger({("real", 1): 0, ("b", 1): 0.1, ("c", 1): 0})
    (found, *_) = hypotheses.judge(rows, [_TABLES[0] | {"real_per_class": 1, "on": "haze 1"}])
    assert found.verdict == "contradicted"  # the images of the shift are wrong where the others are right
    (found,) = hypotheses.judge(rows, [_TABLES[0] | {"real_per_class": 1, "on": "snow 1"}])
    assert found.verdict == "no rows" and "snow 1" in found.reason
    with pytest.raises(ValueError, match="hypothesis 1 lacks better"):
        hypotheses.judge(rows, [{"name": "x", "text": "x", "worse": {}, "real_per_class": 1}])
