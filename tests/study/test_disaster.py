"""The shipped disaster study from its file to its page, with tiny numbers: events, edits, arms, verdicts."""

import json

import pytest

from rs_course import study
from rs_course.paths import data_dir
from rs_course.study import plan, report

_TINY = {
    "base.real_per_class": 2,
    "base.steps": 1,
    "base.batch_size": 12,
    "base.seed": 0,
    **{
        f"sets.{world}.{key}": value
        for world in ("disaster", "disaster_random")
        for key, value in {"per_kind": 2, "test_per_kind": 1, "events": 2}.items()
    },
    **{
        f"sets.{edited}.{key}": value
        for edited in ("inpainted", "guided")
        for key, value in {"per_class": 8, "steps": 2, "guidance": 1.0}.items()
    },
}


@pytest.mark.slow
@pytest.mark.skipif(
    not (data_dir() / "checkpoints" / "mini-text2earth-inpainting" / "unet").is_dir(),
    reason="needs mini-text2earth-inpainting",
)
def test_the_disaster_study_runs_from_its_file_to_its_page(tmp_path):
    tiny = plan.read("disaster", _TINY)
    said = []
    rows = study.run(tiny, tmp_path, progress=said.append)
    assert len(rows) == len(tiny.tasks) == 27
    assert sum(line.startswith("made the set") for line in said) == 4
    assert set(rows["n_test"]) == {6}
    assert not rows["n_leaked"].any()
    mixed = rows[(rows["arm"] == "mixed") & (rows["synthetic"] == "@inpainted")]
    assert mixed["n_synthetic"].tolist() == [12, 24, 36, 48]
    before = set(rows[rows["dataset"] == "@disaster/before"]["test_hash"])
    assert before.isdisjoint(rows[rows["dataset"] == "@disaster/after"]["test_hash"])
    for part in ("inpainted", "guided"):  # the generators stand in the rows of their sets
        assert rows[rows["synthetic"] == f"@{part}"]["checkpoint"].nunique() == 1
    assert rows["checkpoint"].nunique() == 3
    page = report.write(tmp_path).read_text(encoding="utf-8")
    assert "no rows" not in page
    assert "runs are not done" not in page
    assert {"verdicts", "controls", "confusions", "learning_curves"} <= {
        file.stem for file in (tmp_path / "report").glob("*.png")
    }
    described = json.loads((tmp_path / "study.json").read_text(encoding="utf-8"))
    assert described["ids"] == rows["id"].tolist()
