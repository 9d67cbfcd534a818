"""What a finished study says: its ledger read by the hypotheses, the lines and the answer of its own file.

>>> found = finished("is_it_ready")                            # doctest: +SKIP
>>> print(*found.answers().values(), sep="\n")                 # doctest: +SKIP

A line of a figure is declared beside the hypotheses::

    [[lines]]
    label = "real + generated"
    where = { arm = "mixed", synthetic = "@tiles" }
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rs_course.study import comparisons, freezing, hypotheses, results
from rs_course.study.sets import FROM_SHOTS, SAMPLING, inherited

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Finished:
    """A study's folder, read; the study may still be running.

    Attributes:
        folder: Where it lies.
        described: ``study.json``: title, function, inputs and their hashes, ids of all tasks, other tables.
        ledger: One row per finished task, those on validation too.
        frozen: ``frozen.json``: the settings, when they were frozen, every look at the test part.
    """

    folder: Path
    described: dict
    ledger: pd.DataFrame
    frozen: dict

    @property
    def extra(self) -> dict:
        """The study file's own tables."""
        return self.described["extra"]

    @cached_property
    def tested(self):
        """Rows that were not judged on validation, with defaults filled in."""
        rows = comparisons.complete(self.ledger)
        return rows[rows["part"].fillna("") != "validation"] if "part" in rows else rows

    @cached_property
    def verdicts(self) -> list[hypotheses.Verdict]:
        """A verdict for every hypothesis at every budget."""
        asked, judged = self.extra.get("hypotheses", []), self.extra.get("judged")
        return hypotheses.judge(self.tested, asked, judged, self.frozen["settings"])

    def named(self, *names: str) -> list[hypotheses.Verdict]:
        """The verdicts of some hypotheses, in the order of these names."""
        return [verdict for name in names for verdict in self.verdicts if verdict.name == name]

    def require(self, *names: str) -> None:
        """See that some hypotheses have been measured, before a lesson or a script reads on.

        Raises:
            ValueError: One is not declared, or has no rows yet.
        """
        for name in names:
            if not any(verdict.difference for verdict in self.named(name)):
                raise ValueError(
                    f"{self.folder} has no rows for the hypothesis {name!r}, which is read here: run a study "
                    "that declares it, such as is_it_ready, to its end, and name its folder."
                )

    def answers(self) -> dict[int | None, str]:
        """One sentence for every budget; none for a study without a table ``[answer]``."""
        answer = self.extra.get("answer")
        return hypotheses.answers(self.verdicts, answer) if answer else {}

    def memory(self) -> dict[str, dict[int, tuple]]:
        """What is left of the gain without borrowed memory: ``{hypothesis: {budget: (share, low, high)}}``.

        A hypothesis for each generator that saw no more real images than the classifier.
        """
        if not (answer := self.extra.get("answer")):
            return {}
        rows, asked, judged = self.tested, self.extra["hypotheses"], self.extra.get("judged", {})
        return {
            name: hypotheses.memory(rows, asked, judged, name, answer["borrowed"], self.frozen["settings"])
            for name in hypotheses.listed(answer["alone"])
        }

    def lines(self, budget: int | None = None) -> dict:
        """``{label: rows}`` of the declared lines, or of every arm where none is; at one budget or at all."""
        import pandas as pd

        rows, judged = self.tested, self.extra.get("judged", {})
        budgets = sorted(set(rows["real_per_class"])) if budget is None else [budget]
        declared = self.extra.get("lines") or [
            {"label": arm, "where": {"arm": arm}} for arm in rows["arm"].unique()
        ]
        found = {}
        for line in declared:
            wheres = [{"real_per_class": value, **judged, **line["where"]} for value in budgets]
            wheres = [freezing.fill(where, self.frozen["settings"]) for where in wheres]
            try:
                parts = [comparisons.select(rows, **where) for where in wheres]
            except ValueError:  # a column that no row has yet
                continue
            if sum(map(len, parts)):
                found[line["label"]] = pd.concat(parts)
        return found


def finished(study: str | Path) -> Finished:
    """Read a study that was run, or is still running.

    Args:
        study: Its folder (what ``rs-course study --out`` wrote), or the name of one that ships with the
            course.

    Raises:
        FileNotFoundError: No study was run there.
    """
    folder = results.shipped(study) or Path(study).expanduser()
    if not (folder / "study.json").is_file():
        raise FileNotFoundError(
            f"no study was run in {folder}: run `rs-course study CONFIG --out {folder}` first."
        )
    described = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    if (folder / "records").is_dir():
        results.merge(folder, described["ids"])  # also of a study that is still running
    return Finished(folder, described, results.ledger(folder), freezing.read(folder))


def examples(found: Finished, *, seed: int = 0, searched: int = 1000) -> dict[str, tuple[np.ndarray, str]]:
    """One tile for each class from every source of training images that can be shown here and now.

    Real and retrieved ones need the data set on this machine; sets that start from the shots of a task, or
    whose generator was first trained on them, are left out.

    Args:
        found: A study of EuroSAT's classes.
        seed: Of generated tiles, and of the tiles among which retrieval looks.
        searched: How many these are.

    Returns:
        ``{source: (uint8 [C, H, W, 3] in the order of the classes, provenance)}``; the sources are ``"real"``
        (the first training tile of each class), ``"retrieval"`` (the one that ``mini-clip`` finds likest to
        it) and ``"@NAME"`` for the study's sets, drawn now with their frozen settings.
    """
    from rs_course import datasets

    tested = found.tested
    named = set(tested["synthetic"].dropna())
    try:
        data = datasets.load(tested["dataset"].iloc[0], "train")
    except FileNotFoundError:
        shown = {}
    else:
        firsts = [np.flatnonzero(data.labels == k)[0] for k in range(len(data.classes))]
        shown = {"real": (data.images[firsts], data.provenance)}
        if "retrieval" in named:
            some = np.random.default_rng(seed).permutation(len(data))[:searched]
            shown["retrieval"] = _retrieved(data.subset(some)), data.provenance
    settings = found.frozen["settings"]
    described = {name: freezing.fill(spec, settings) for name, spec in found.extra.get("sets", {}).items()}
    for name in described:
        spec = inherited(described, name)
        if f"@{name}" in named and "checkpoint" in spec and spec.get("making") not in FROM_SHOTS:
            shown[f"@{name}"] = _generated(spec, list(tested["class_names"].iloc[0]), seed)
    return shown


def _retrieved(data) -> np.ndarray:
    from rs_course import alignment, datasets
    from rs_course.classification import Tiles, recipes

    tiles = Tiles.of(data)
    prompts = [datasets.class_prompt(name, "eurosat") for name in tiles.classes]
    logits = recipes.zero_shot_logits(alignment.load("mini-clip"), tiles.images, prompts)
    return recipes.retrieved(tiles, recipes.softmax(logits), 1).images


def _generated(spec: dict, classes: list[str], seed: int) -> tuple[np.ndarray, str]:
    from rs_course import checkpoints, datasets

    generator = checkpoints.load(spec["checkpoint"])
    prompts = [datasets.class_prompt(name, spec.get("look", "eurosat")) for name in classes]
    drawn = generator.sample(prompts, seed=seed, **{key: spec[key] for key in SAMPLING if key in spec})
    return checkpoints.images.pixels(drawn), f"generated · {spec['checkpoint']} · seed {seed}"
