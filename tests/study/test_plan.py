"""From TOML to tasks, and what changes a task's id."""

import json

import pytest

from rs_course.study import fingerprints, plan

_TEXT = """
title = "Two blocks"
function = "tests.study.cheap:square"

[base]
dataset = "simulated"
seed = [0, 1]

[[grid]]
arm = "real"
budget = [1, 4]

[[grid]]
arm = ["real", "mixed"]
budget = 4

[claims]
gain = "mixed above real"
"""


def test_blocks_are_products_and_a_task_that_two_describe_is_run_once(tmp_path):
    (tmp_path / "two.toml").write_text(_TEXT, encoding="utf-8")
    read = plan.read(tmp_path / "two.toml")
    assert read.title == "Two blocks"
    assert [(t["arm"], t["budget"], t["seed"]) for t in read.tasks] == [
        ("real", 1, 0), ("real", 4, 0), ("real", 1, 1), ("real", 4, 1), ("mixed", 4, 0), ("mixed", 4, 1),
    ]  # fmt: skip
    assert all(task["dataset"] == "simulated" for task in read.tasks)
    assert read.extra == {"claims": {"gain": "mixed above real"}}
    assert read.resolve()({"x": 3, "seed": 0})["accuracy"] == 0.09


def test_values_are_changed_by_their_dotted_name(tmp_path, capsys):
    from rs_course.cli import main

    (tmp_path / "two.toml").write_text(_TEXT, encoding="utf-8")
    changed = plan.read(tmp_path / "two.toml", {"base.seed": 7, "claims.gain": "none"})
    assert {task["seed"] for task in changed.tasks} == {7}
    assert changed.extra["claims"]["gain"] == "none"
    with pytest.raises(ValueError, match=r"no table \[sets.tiles\]"):
        plan.read(tmp_path / "two.toml", {"sets.tiles.per_class": 1})
    options = ["--dry-run", "-p", "base.seed", "[1, 2, 3]", "-p", "base.dataset", "eurosat"]
    assert main(["study", str(tmp_path / "two.toml"), *options]) == 0
    assert capsys.readouterr().out == "Two blocks: 9 tasks\n"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"base": {"seed": 0}}, "no .*grid.* block"),
        ({"grid": [{"seed": []}]}, "sweeps over nothing"),
        ({"grid": [{"seed": {"a": 1}}]}, "holds a dict"),
        ({"grid": [{"seed": 0}], "function": "rs_course.nothing:run"}, "no function 'rs_course.nothing:run'"),
        ({"grid": [{"seed": 0}], "function": "json:nothing"}, "no function 'json:nothing'"),
    ],
)
def test_bad_configurations_get_one_sentence(content, sentence):
    with pytest.raises(ValueError, match=sentence):
        plan.from_dict(content).resolve()


def test_bad_files_get_one_sentence(tmp_path):
    (tmp_path / "bad.toml").write_text("title = ", encoding="utf-8")
    with pytest.raises(ValueError, match="not valid TOML"):
        plan.read(tmp_path / "bad.toml")
    with pytest.raises(FileNotFoundError, match=r"give a TOML file, or one of .*simulated_fast"):
        plan.read("nothing")


def test_an_id_changes_with_settings_code_data_and_checkpoint_and_with_nothing_else(tmp_path):
    for name in ("data", "weights"):
        (tmp_path / name).mkdir()
    (tmp_path / "data" / "a.png").write_bytes(b"one")
    (tmp_path / "weights" / "model.safetensors").write_bytes(b"one")
    inputs = {
        "code": "rs_course.files",
        "data": str(tmp_path / "data"),
        "checkpoint": str(tmp_path / "weights"),
    }
    task = {"arm": "real", "seed": 0}

    def now(task=task, **changed):
        return fingerprints.of_task("m:f", task, fingerprints.of_inputs({**inputs, **changed}))

    first = now()
    assert now() == now(task=dict(reversed(task.items()))) == first
    assert now(task={**task, "seed": 1}) != first
    assert now(code="rs_course.paths") != first
    (tmp_path / "weights" / "README.md").write_text("a card is no weight")
    assert now() == first
    (tmp_path / "weights" / "model.safetensors").write_bytes(b"two")
    second = now()
    assert second != first
    (tmp_path / "data" / "a.png").write_bytes(b"two")
    assert now() not in (first, second)


@pytest.mark.parametrize("name", ["unet/diffusion_pytorch_model.bin", "last.ckpt", "model.pt", "model.pth"])
def test_weights_of_every_form_count(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    ids = set()
    for weights in (b"one", b"two"):
        (tmp_path / name).write_bytes(weights)
        ids.add(fingerprints.of_inputs({"checkpoint": str(tmp_path)})["checkpoint"])
    assert len(ids) == 2


def test_weights_shared_with_another_folder_count(tmp_path):
    for name in ("vae", "generator"):
        (tmp_path / name).mkdir()
    (tmp_path / "vae" / "model.safetensors").write_bytes(b"one")
    index = {"_shared_parts": {"vae": "../vae"}}
    (tmp_path / "generator" / "model_index.json").write_text(json.dumps(index))
    first = fingerprints.of_inputs({"checkpoint": str(tmp_path / "generator")})
    (tmp_path / "vae" / "model.safetensors").write_bytes(b"two")
    assert fingerprints.of_inputs({"checkpoint": str(tmp_path / "generator")}) != first


def test_unknown_inputs_are_named():
    with pytest.raises(ValueError, match="not 'weights'"):
        fingerprints.of_inputs({"weights": "x"})
    with pytest.raises(ValueError, match="no module here"):
        fingerprints.of_inputs({"code": "rs_course_nothing"})
    with pytest.raises(FileNotFoundError, match="neither a path nor one of the data sets"):
        fingerprints.of_inputs({"data": "nothing"})


_SETS = {"tiles": {"checkpoint": "mini-text2earth", "dataset": "eurosat", "per_class": 4}}
_HYPOTHESIS = {"name": "a", "text": "b", "better": {"arm": "mixed"}, "worse": {"arm": "real"}}


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"hypothesis": []}, "the study has no 'hypothesis': did you mean hypotheses?"),
        ({"claims": []}, "the study has no 'claims': use title"),
        ({"grid": [{"real_per_clas": 1}]}, "a task has no 'real_per_clas': did you mean real_per_class?"),
        ({"grid": [{"synthetic": "@tile"}]}, "names the set @tile, but the study has no table"),
        ({"grid": [{"augment": "$recipe"}]}, "augment = '\\$recipe' waits for a .*tuning.* called recipe"),
        ({"sets": {"tiles": {**_SETS["tiles"], "guidence": 3.0}}}, "tiles.* has no 'guidence': did you mean"),
        ({"sets": {"tiles": {"checkpoint": "mini-vae"}}}, "sets.tiles.* lacks dataset, per_class"),
        ({"hypotheses": [{**_HYPOTHESIS, "real_per_clas": 4}]}, "hypothesis 1 has no 'real_per_clas'"),
        ({"hypotheses": [{**_HYPOTHESIS, "better": "mixed"}]}, "hypothesis 1: better is a table"),
        ({"inputs": {"cod": []}}, "inputs.* has no 'cod': did you mean code?"),
        ({"cost": {"stp": 1}}, "cost.* has no 'stp': did you mean step?"),
        (
            {"tuning": [{"name": "a", "choose": [], "grid": {"seed": 0}, "pr": "x"}]},
            "the tuning a has no 'pr'",
        ),
    ],
)
def test_a_name_that_nobody_reads_is_told_before_anything_runs(changed, sentence):
    content = {"grid": [{"synthetic": "@tiles", "arm": "mixed"}], "sets": _SETS, "hypotheses": [_HYPOTHESIS]}
    assert plan.from_dict(content).tasks
    with pytest.raises(ValueError, match=sentence):
        plan.from_dict(content | changed)
