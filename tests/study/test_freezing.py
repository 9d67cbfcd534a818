"""Chosen on validation, frozen, tested once: read off the ledger of a real study of tiny runs."""

import json

import pandas as pd
import pytest
from classification.test_held_out import folder

from rs_course import study
from rs_course.classification.experiment import Task
from rs_course.study import comparisons, fingerprints, freezing, plan, report, sets
from rs_course.study.plan import cost_table

_HYPOTHESES = [
    {"name": "own", "text": "copies help", "better": {"arm": "duplicate"}, "worse": {"arm": "real"},
     "real_per_class": [1, 2]},
    {"name": "all", "text": "they beat chance", "better": {"arm": "real"}, "worse": {"chance": 0.5},
     "real_per_class": 2},
]  # fmt: skip


def content(path):
    return {
        "title": "tiny",
        "inputs": {"data": [str(path)]},
        "tuning": [
            {
                "name": "recipe",
                "choose": ["augment"],
                "per": "real_per_class",
                "grid": {
                    "arm": "real",
                    "real_per_class": [1, 2],
                    "augment": ["none", "flip"],
                    "seed": [90],
                    "steps": 9,
                },
            },
            {
                "name": "steps",
                "choose": ["steps"],
                "per": "real_per_class",
                "grid": [
                    {"arm": "real", "real_per_class": 1, "seed": [90], "steps": [3, 9]},
                    {"arm": "real", "real_per_class": 2, "seed": [90], "steps": [9, 12]},
                ],
            },
        ],
        "base": {
            "dataset": str(path), "augment": "$recipe", "steps": "$steps", "batch_size": 4, "seed": [0, 1],
            "symmetries": False,
        },
        "grid": [{"arm": ["real", "duplicate"], "real_per_class": [1, 2]}],
        "hypotheses": _HYPOTHESES,
        "answer": {"alone": "own", "borrowed": "all"},
    }  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("study")
    path = folder(out / "data", {"train": 3, "test": 6})
    return study.run(plan.from_dict(content(path)), out / "run"), out / "run", path


def test_the_ledger_proves_one_look_at_the_test_part_after_the_freeze(finished):
    rows, out, _ = finished
    frozen = json.loads((out / "frozen.json").read_text())
    tuned, tested = rows[rows["part"] == "validation"], rows[rows["part"] == "test"]
    assert len(tuned) == 6 and len(tested) == 8 and not set(tuned["test_hash"]) & set(tested["test_hash"])
    (look,) = frozen["looks"]
    assert tuned["finished"].max() < frozen["at"] < look["at"] < tested["finished"].min()
    assert set(tested["frozen"]) == {frozen["hash"]} and set(tested["opened"]) == {look["at"]}
    assert look["count"] == 8 and tuned["frozen"].isna().all()
    for budget, chosen in frozen["settings"]["recipe"]["values"].items():  # what was chosen is what was run
        at = tuned[(tuned["real_per_class"] == int(budget)) & (tuned["steps"] == 9)]
        at = at.drop_duplicates("augment").set_index("augment")["accuracy"]
        assert at[chosen["augment"]] == at.max()
        assert set(tested[tested["real_per_class"] == int(budget)]["augment"]) == {chosen["augment"]}


def test_going_on_is_the_same_look_and_other_settings_are_refused(finished):
    rows, out, path = finished
    victim = rows[rows["part"] == "test"]["id"].iloc[3]
    (out / "records" / f"{victim}.json").unlink()  # as after kill -9
    again = study.run(plan.from_dict(content(path)), out)
    assert len(freezing.read(out)["looks"]) == 1 and len(again) == len(rows)
    assert again["opened"].tolist() == rows["opened"].tolist()
    frozen = {"recipe": {"augment": "rotate"}, "steps": {"steps": 9}}
    frozen = {name: {"per": "", "values": {"": chosen}} for name, chosen in frozen.items()}
    other = {**content(path), "frozen": frozen}
    with pytest.raises(RuntimeError, match="under other settings"):
        study.run(plan.from_dict(other), out)


def test_the_page_answers_per_budget_and_draws_how_long_was_long_enough(finished):
    rows, out, _ = finished
    ladders = comparisons.ladders(rows)
    assert {name: sorted(part["steps"]) for name, part in ladders.items()} == {
        "1 per class": [3, 9],
        "2 per class": [9, 12],
    }
    page = report.write(out).read_text(encoding="utf-8")
    assert "beside 1 real image per class: " in page and "the test part was opened 1 time, first" in page
    assert "| 2 | they beat chance |" in page
    drawn = {file.stem for file in (out / "report").glob("*.png")}
    assert drawn == {"learning_curves", "convergence", "controls", "confusions", "verdicts"}


def test_frozen_tables_take_the_place_of_the_tuning(finished, tmp_path):
    rows, out, path = finished
    import tomllib

    known = tomllib.loads((out / "frozen.toml").read_text(encoding="utf-8"))["frozen"]
    assert known == json.loads((out / "frozen.json").read_text())["settings"]
    short = plan.from_dict({**content(path), "frozen": known})
    assert len(study.run(short, tmp_path)) == 8  # nothing is tuned again
    assert set(study.ledger(tmp_path)["frozen"]) == set(rows["frozen"].dropna())


def test_the_test_part_is_closed_to_tasks_without_frozen_settings(finished):
    from rs_course.classification import run_task

    with pytest.raises(ValueError, match="opened by settings that were frozen on validation"):
        run_task({"dataset": str(finished[2]), "part": "test", "real_per_class": 1})


def test_inputs_that_change_half_way_stop_the_run_and_keep_what_is_finished(tmp_path, monkeypatch):
    path = folder(tmp_path / "data", {"train": 3, "test": 4})
    watch, calls = fingerprints.Watch.check, []

    def change_then_check(self):
        calls.append(1)
        if len(calls) == 3:
            (path / "train" / "River" / "0.png").write_bytes(b"another file")
        watch(self)

    monkeypatch.setattr(fingerprints.Watch, "check", change_then_check)
    with pytest.raises(RuntimeError, match=r"the data of this study changed while it ran"):
        study.run(plan.from_dict(content(path)), tmp_path / "run")
    assert len(study.ledger(tmp_path / "run")) == 2


def test_code_that_changes_is_seen_in_the_same_process(tmp_path, monkeypatch):
    (tmp_path / "a_module_of_mine.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    first = fingerprints.of_inputs({"code": "a_module_of_mine"})
    (tmp_path / "a_module_of_mine.py").write_text("x = 2\n")
    assert fingerprints.of_inputs({"code": "a_module_of_mine"}) != first


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"augment": "$nothing"}, "nothing called nothing was tuned"),
        ({"lr": "$recipe"}, "recipe holds augment, batch_size"),
    ],
)
def test_a_setting_that_was_not_chosen_is_named(task, message):
    settings = {"recipe": {"per": "real_per_class", "values": {"1": {"augment": "flip", "batch_size": 8}}}}
    with pytest.raises(ValueError, match=message):
        freezing.fill({"real_per_class": 1, **task}, settings)


def test_settings_are_never_chosen_on_test_rows_and_the_nearest_budget_counts():
    block = {"name": "r", "choose": ["lr"], "per": "real_per_class"}
    rows = [
        {"part": "validation", "real_per_class": b, "lr": lr, "accuracy": a}
        for b, lr, a in [(1, 0.1, 0.3), (1, 0.2, 0.4), (100, 0.1, 0.9), (100, 0.2, 0.8)]
    ]
    settings = {"r": freezing.choose(rows, block)}
    picked = [freezing.fill({"real_per_class": b, "lr": "$r"}, settings)["lr"] for b in (1, 4, 16, 1000)]
    assert picked == [0.2, 0.2, 0.1, 0.1]
    with pytest.raises(ValueError, match="chosen on validation, not on 'test'"):
        freezing.choose([{**rows[0], "part": "test"}], block)
    with pytest.raises(ValueError, match=r"a .*tuning.* table lacks choose"):
        plan.from_dict({"grid": [{"x": 1}], "tuning": [{"name": "r"}]})


def test_the_shipped_study_says_what_it_costs_and_all_its_tasks_and_sides_are_possible(tmp_path):
    shipped = plan.read("is_it_ready")
    assert float(cost_table(shipped).split()[-2]) <= 11
    settings, tasks = {}, []
    for block in shipped.tuning:
        filled = [freezing.fill(task, settings) for task in block["tasks"]]
        tasks += filled
        rows = [{**task, "accuracy": 0.5} for task in filled]
        settings[block["name"]] = freezing.choose(rows, block)
    final = [freezing.fill(task, settings) | {"frozen": "x"} for task in shipped.tasks]
    described = {k: freezing.fill(spec, settings) for k, spec in shipped.extra["sets"].items()}
    assert sets.inherited(described, "simulated")["seeds"] == 5 and len({t["seed"] for t in final}) == 5
    for task in tasks + final:
        assert Task.of(task).part in ("validation", "test") and not str(task.values()).count("$")
    rows = comparisons.complete(pd.DataFrame(final)).drop(columns="frozen")
    for table in shipped.extra["hypotheses"]:  # each side at each budget is one row of every seed
        budgets = table["real_per_class"]
        for budget in budgets if isinstance(budgets, list) else [budgets]:
            for side in (table["better"], table["worse"]):
                where = freezing.fill({"real_per_class": budget, **shipped.extra["judged"], **side}, settings)
                assert sorted(comparisons.select(rows, **where)["seed"]) == [0, 1, 2, 3, 4], (
                    table["name"],
                    where,
                )


def test_the_shipped_ledger_proves_one_look_after_the_freeze_and_is_read_by_the_shipped_file():
    found = study.finished("is_it_ready")
    tuned, tested = (found.ledger[found.ledger["part"] == part] for part in ("validation", "test"))
    assert list(found.ledger["id"]) == found.described["ids"] and len(tuned) + len(tested) == len(
        found.ledger
    )
    assert not set(tuned["test_hash"]) & set(tested["test_hash"]) and not found.ledger["n_leaked"].any()
    assert not set(tuned["seed"]) & set(tested["seed"])
    (look,) = found.frozen["looks"]
    assert tuned["finished"].max() < found.frozen["at"] < look["at"] < tested["finished"].min()
    assert set(tested["frozen"]) == {found.frozen["hash"]} and look["count"] == len(tested)
    assert found.extra == plan.read("is_it_ready").extra
    assert all(verdict.difference is not None for verdict in found.verdicts)
