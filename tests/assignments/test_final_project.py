"""Reports whose claims do not follow from their ledger, and ledgers that were not made by a study."""

import json

import numpy as np
import torch
from scipy.stats import t

from rs_course import study
from rs_course.grading.exam import Wrong
from rs_course.grading.exams import study_ledger
from rs_course.study import fingerprints

from .conftest import assignment, mutant_tests, replaced, source

EVIDENCE = next(c.source for c in source("final_project").cells if c.get("id") == "evidence")
TEXT = EVIDENCE.split('"""')[-2].strip()


def stated(key):
    """The line of the report that states this key."""
    return next(line for line in EVIDENCE.splitlines() if line.strip().startswith(f'"{key}"'))


def states(key, value):
    return replaced((stated(key), f'        "{key}": {value},'))


def edited(change, arms=("duplicate",), seal=False):
    """The ledger with each line of some arms changed; ``seal`` gives the ids that belong to the changes."""
    lines = [json.loads(line) for line in TEXT.splitlines()]
    for line in lines[1:]:
        if line["task"]["arm"] in arms:
            change(line)
            if seal:
                hashes = {key: line[key] for key in study_ledger.HASHES}
                settings = {**line["task"], "sets": line["sets"]}
                line["id"] = fingerprints.of_task(lines[0]["function"], settings, hashes)
    return replaced((TEXT, "\n".join(json.dumps(line) for line in lines)))


def seeds(count):
    """The ledger of the first seeds only."""
    head, *lines = TEXT.splitlines()
    kept = [line for line in lines if json.loads(line)["task"]["seed"] < count]
    return replaced((TEXT, "\n".join([head, *kept])))


def claiming(change):
    """A changed ledger with the claims that follow from it."""

    def both(text):
        text = change(text)
        runs = study_ledger.read(text.split('"""')[-2].strip()).runs
        accuracies = [
            [r.results["accuracy"] for r in runs if r.task["arm"] == a] for a in ("real", "duplicate")
        ]
        gain = np.subtract(*accuracies[::-1])
        half = t.ppf(0.975, len(gain) - 1) * gain.std(ddof=1) / len(gain) ** 0.5 if len(gain) > 1 else 0.0
        low, high = gain.mean() - half, gain.mean() + half
        verdict = "better" if low > 0 else "worse" if high < 0 else "not decided"
        text = states("difference", round(gain.mean(), 6))(text)
        text = states("interval", [round(low, 6), round(high, 6)])(text)
        return text.replace(stated("conclusion"), f'        "conclusion": "{verdict}",')

    return both


def better_by(points):
    return lambda line: line.update(accuracy=round(line["accuracy"] + points, 4))


def setting(**settings):
    return lambda line: line["task"].update(settings)


BOTH = ("real", "duplicate")

# name: (change, points, words of a message)
MUTANTS = {
    "key_missing": (replaced((stated("leaked_images") + "\n", "")), 0, "lacks leaked_images"),
    "no_question": (replaced(("shown twice?", "shown twice.")), 5.5, "question mark"),
    "nothing": (lambda text: "def evidence():\n    return {}", 0, "must return the dict"),
    "empty_function": (lambda text: "def evidence():\n    pass", 0, "must return the dict"),
    "no_ledger": (states("ledger", '""'), 0, "the text that pack"),
    "numbers_for_a_ledger": (states("ledger", "[0.5, 0.6]"), 0, "the text that pack"),
    "first_line_lost": (replaced((TEXT.splitlines()[0] + "\n", "")), 0, "paste the whole text"),
    "line_cut": (replaced((TEXT[-40:], "")), 0, "not as pack wrote it"),
    "invented_accuracies": (claiming(edited(better_by(0.2))), 4.5, "not that of the ledger"),
    "settings_edited": (edited(setting(steps=400)), 4, "does not belong to its settings"),
    "settings_edited_and_sealed": (
        edited(setting(real_per_class=5), seal=True),
        4.5,
        "its images were others",
    ),
    "own_function": (
        replaced(("experiment:run_task", "experiment:my_task")),
        4,
        "does not belong to its settings",
    ),
    "too_long_to_repeat": (edited(setting(steps=10**6), BOTH, seal=True), 4.5, "none of these runs"),
    "a_folder_for_data": (edited(setting(dataset="/etc"), BOTH, seal=True), 4.5, "none of these runs"),
    "impossible_settings": (edited(setting(augment="magic"), BOTH, seal=True), 4.5, "stop with an error"),
    "accuracy_of_two": (edited(lambda line: line.update(accuracy=2.0)), 0, "not as pack wrote it"),
    "accuracy_nan": (edited(lambda line: line.update(accuracy=float("nan"))), 0, "not as pack wrote it"),
    "other_images": (edited(lambda line: line.update(test_hash="0" * 32)), 0, "different images"),
    "no_runs": (seeds(0), 0, "no run of the ledger"),
    "one_seed": (claiming(seeds(1)), 3.5, "one run has no interval"),
    "three_seeds": (claiming(seeds(3)), 5.75, "fewer than 5 seeds"),
    "no_such_arm": (
        states("method", '{"arm": "mixed"}'),
        0,
        "no run of the ledger has the settings of method",
    ),
    "both_arms": (states("method", '{"steps": 20}'), 0, "several runs of one seed"),
    "compared_with_itself": (states("method", '{"arm": "real"}'), 0, "the same runs"),
    "settings_as_text": (states("baseline", '"real"'), 0, "names settings"),
    "settings_as_array": (states("baseline", '{"arm": torch.zeros(3)}'), 0, "names settings"),
    "sign": (states("difference", -0.2), 5, "the mean of method − baseline"),
    "difference_as_text": (states("difference", '"0.034"'), 5, "difference must be a number"),
    "difference_huge": (states("difference", "10**400"), 5, "difference must be a number"),
    "difference_nan": (states("difference", 'float("nan")'), 5, "NaN"),
    "no_interval": (states("interval", 0.014), 4, "[low, high]"),
    "interval_huge": (states("interval", "[10**400, 1]"), 4, "[low, high]"),
    "interval_as_text": (states("interval", '["0.02", "0.05"]'), 4, "[low, high]"),
    "invented_interval": (states("interval", [0.3, 0.4]), 4, "not the paired"),
    "overclaimed": (states("conclusion", '"better"'), 5, "contains 0"),
    "vague": (states("conclusion", '"promising"'), 5, "is one of"),
    "conclusion_as_array": (states("conclusion", "torch.zeros(2)"), 5, "is one of"),
    "leak_not_counted": (states("leaked_images", "None"), 5.5, "leaked_images must be a number"),
    "leak_invented": (states("leaked_images", 3), 5.5, "the largest n_leaked"),
    "leak_yes": (states("leaked_images", "False"), 5.5, "leaked_images must be a number"),
}

test_there_are_enough, test_mutant = mutant_tests(
    "final_project", {name: ("evidence", *mutant) for name, mutant in MUTANTS.items()}
)


def judged(report):
    """Points of each check of a report."""
    points = {}
    for examined in assignment("final_project").checks:
        try:
            examined.judge(report)
            points[examined.check.name.removeprefix("evidence.")] = examined.check.points
        except Wrong as wrong:
            points[examined.check.name.removeprefix("evidence.")] = wrong.fraction * examined.check.points
    return points


def test_scalars_of_numpy_and_torch_are_numbers():
    """What crosses the border of the sandbox is an array of no dimension."""
    names: dict = {}
    exec(EVIDENCE, names)
    report = names["evidence"]()
    assert sum(judged(report).values()) == 6
    report |= {
        "difference": np.asarray(report["difference"], dtype=np.float32),
        "interval": torch.tensor(report["interval"], dtype=torch.float64),
        "leaked_images": np.asarray(report["leaked_images"]),
        "baseline": {"arm": "real", "steps": np.asarray(20)},
    }
    assert sum(judged(report).values()) == 6


def test_a_study_is_packed_and_verified_with_its_generated_tiles(tmp_path):
    """A small study with a generated set: packed, read back, and one run of each arm repeated."""
    config = tmp_path / "mine.toml"
    config.write_text(
        """
        [inputs]
        code = ["rs_course.classification"]
        data = ["simulated"]
        [sets.tiles]
        making = "basic"
        checkpoint = "mini-text2earth"
        dataset = "simulated"
        per_class = 1
        steps = 2
        [base]
        dataset = "simulated"
        pool = 40
        test = 20
        steps = 2
        real_per_class = 1
        [[grid]]
        arm = "real"
        [[grid]]
        arm = "mixed"
        synthetic = "@tiles"
        """
    )
    study.run(study.read(config), tmp_path / "out")
    ledger = study_ledger.read(study_ledger.pack(config, tmp_path / "out"))
    assert len(ledger.runs) == 2 and not study_ledger.edited(ledger)
    for run in ledger.runs:
        assert study_ledger.repeatable(ledger, run)
        again = study_ledger.repeat(ledger, run)
        for key in ("accuracy", "test_hash", "real_hash", "n_synthetic"):
            assert again[key] == run.results[key]
        assert bool(again["synthetic_hash"]) is (run.task["arm"] == "mixed")
