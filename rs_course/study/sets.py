"""Image sets that a study makes for itself, once, before its tasks.

A table of the study's file describes a set; a task names it with an @::

    [sets.tiles]
    making = "basic"                   # a recipe of rs_course.classification.recipes.MAKING
    checkpoint = "mini-text2earth"
    dataset = "eurosat"                # whose look the prompts ask for, and where the shots come from
    per_class = 400
    steps = 10                         # this, guidance, sampler, strength, …: as for sample
    dtype = "bfloat16"                 # of the weights; without it as rs_course.checkpoints.load chooses

    like = "@other"                    # and whatever else another set says
    seeds = 5                          # so many draws of it, for tasks with own_draw; without it one

    [[grid]]
    synthetic = "@tiles"

===========  ==========================================================================================
making       the images
===========  ==========================================================================================
recipes      generated from prompts; ``real-guidance`` starts from the shots of the task that asks
``adapted``  generated after the checkpoint was trained on the shots of the task that asks, and on no more:
             ``adaptation = 300`` steps, see :mod:`rs_course.study.adaptation`
``folder``   a set that is there already, at ``path``: what ``rs-course generate`` wrote
``events``   pairs of :mod:`rs_course.datasets.disasters`: folders ``before``, ``after``, ``changed``
``xbd``      the same folders from a local copy of xBD (:mod:`rs_course.datasets.xbd`)
``edit``     images after an event, painted by a generator into those before it (a mask says where)
===========  ==========================================================================================

Sets lie in ``DIR/sets/NAME-HASH``; the hash covers the description, the checkpoint's weights and the real
data, so a new checkpoint makes new sets.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rs_course.generation.run import SETTINGS
from rs_course.paths import relative
from rs_course.study import fingerprints
from rs_course.study.hypotheses import only

if TYPE_CHECKING:
    from rs_course.datasets import Dataset
    from rs_course.study.plan import Plan

FROM_SHOTS = ("real-guidance", "adapted")  # another set for every draw of real images
# Not part of what a set is, only of how it is made.
_HANDLING = ("batch_size", "path", "source", "shard")
SAMPLING = (*SETTINGS, "batch_size")
_DESCRIPTION = (
    "making", "like", "checkpoint", "dtype", "dataset", "look", "per_class", "sentences", "seed", "seeds",
    "adaptation", "path", *SAMPLING,
)  # fmt: skip
# Made by functions that refuse what they do not know, or there already.
_ELSEWHERE = ("events", "xbd", "edit", "folder")


class Sets:
    """The sets of one plan.

    Args:
        described: The plan's table ``sets``.
        folder: Where they lie.
    """

    def __init__(self, described: dict, folder: Path):
        self.described, self.folder = described, Path(folder) / "sets"
        self._made: dict[str, dict] = {}
        self._folders: dict[
            str, str
        ] = {}  # by description: contents are hashed once for the many tasks of a run

    def of(self, task: dict) -> dict:
        """``{setting: (set, path below it)}`` for the task's values that start with @.

        Raises:
            ValueError: A set that the study does not describe.
        """
        found = {}
        for key, value in task.items():
            if isinstance(value, str) and value.startswith("@"):
                name, _, below = value[1:].partition("/")
                found[key] = (self._specify(name, task), relative(below))
        return found

    def checkpoints(self, task: dict) -> list[str]:
        """Generators of the sets that a task names."""
        specs = [self._made[name] for name, _ in self.of(task).values()]
        return sorted({spec["checkpoint"] for spec in specs if "checkpoint" in spec})

    def _specify(self, name: str, task: dict) -> str:
        """The set's folder name; remembers its description."""
        spec = inherited(self.described, name)
        if relative(name) != name or name in (".", ""):  # its folder is called after it
            raise ValueError(f"the set {name!r} has a name that is no name of a folder.")
        if spec.get("making") in FROM_SHOTS:
            spec["shots"] = {key: task[key] for key in ("real_per_class", "seed")}
            if task.get("part"):
                spec["shots"] |= {"held_out": True, "image_size": task.get("image_size")}
        for key in ("from", "shots_from"):
            if key in spec:
                spec[key] = self._specify(spec[key].lstrip("@"), task)
        described = json.dumps([name, spec], sort_keys=True, default=str)
        if described not in self._folders:
            self._folders[described] = self._name(name, spec)
        return self._folders[described]

    def _name(self, name: str, spec: dict) -> str:
        inputs = {"checkpoint": spec.get("checkpoint", []), "code": "rs_course.simulated_earth"}
        if "path" in spec:  # known by its content, wherever it lies
            spec["path"] = str(Path(spec["path"]).expanduser().resolve())
            spec["content"] = fingerprints.content(spec["path"])
        if "source" in spec:  # likewise, but by names and sizes: xBD has 30 GB
            spec["source"] = str(Path(spec["source"]).expanduser().resolve())
            spec["content"] = fingerprints.listing(spec["source"])
        if "shots" in spec:
            inputs["data"] = spec["dataset"]
        what = {key: value for key, value in spec.items() if key not in _HANDLING}
        folder = f"{name}-{fingerprints.of_task('set', what, fingerprints.of_inputs(inputs))[:8]}"
        self._made[folder] = spec
        return folder

    def needed(self, tasks: Iterable[dict]) -> list[dict[str, dict]]:
        """Tasks that make the sets of some tasks and are not done, in rounds: the next needs those before."""
        names = {name for task in tasks for name, _ in self.of(task).values()}
        names |= {self._made[name]["from"] for name in names if "from" in self._made[name]}
        rounds: list[dict[str, dict]] = [{}, {}]
        for name in sorted(names):
            folder, spec = self.folder / name, self._made[name]
            if "path" not in spec and not (folder / DONE).exists():
                rounds["from" in spec][name] = {**spec, "folder": str(folder.resolve())}
        return [part for part in rounds if part]

    def resolve(self, task: dict) -> dict:
        """The task with folders in the place of names."""
        folders = {key: self.where(name) / below for key, (name, below) in self.of(task).items()}
        return {**task, **{key: str(path.resolve()) for key, path in folders.items()}}

    def where(self, name: str) -> Path:
        """Folder of a set."""
        return Path(self._made[name].get("path") or self.folder / name)


DONE = "complete"


def described(sets: dict) -> None:
    """Check the tables ``[sets.NAME]`` of a study before anything is run.

    Raises:
        ValueError: A key that nobody reads or that is missing, or a set that is like one that there is not.
    """
    for name in sets:
        spec = inherited(sets, name)
        if spec.get("making") in _ELSEWHERE:
            continue
        only(spec, _DESCRIPTION, f"the table [sets.{name}]")
        missing = [key for key in ("checkpoint", "dataset", "per_class") if key not in spec]
        if missing and "like" not in spec:  # else it is like a set that is chosen later
            raise ValueError(f"the table [sets.{name}] lacks {', '.join(missing)}.")


def inherited(sets: dict, name: str) -> dict:
    """A set's table with what it takes over from the one that it is ``like``, if that is known already.

    Raises:
        ValueError: The study describes no such set, or not the one that it is like.
    """
    if name not in sets:
        raise ValueError(f"a task names the set @{name}, but the study has no table [sets.{name}].")
    spec = dict(sets[name])
    while not spec.get("like", "$").startswith("$"):
        other = spec.pop("like").lstrip("@")
        if other not in sets:
            raise ValueError(f"the set {name} is like @{other}, but there is no table [sets.{other}].")
        spec = {**sets[other], **spec}
    return spec


def made(name: str, plan: Plan, folder: str | Path, task: dict | None = None) -> Dataset:
    """A set that a study has made, as a data set.

    Args:
        name: As in the study's file.
        plan: The study.
        folder: Where it was run.
        task: Whose shots it started from, for real guidance.
    """
    from rs_course import datasets

    own = Sets(plan.extra["sets"], Path(folder))
    return datasets.load(own.where(own.of({**(task or {}), "set": f"@{name}"})["set"][0]))


def make(spec: dict) -> dict:
    """Make one set; what is there already is kept. The function of the tasks from :meth:`Sets.needed`."""
    spec = dict(spec)
    folder, making = Path(spec.pop("folder")), spec.pop("making", "basic")
    spec.pop("content", None)  # part of the name only
    makers = {"events": _events, "xbd": _xbd, "edit": _edit}
    folder.mkdir(parents=True, exist_ok=True)
    makers.get(making, _generate)(folder, making, spec)
    (folder / DONE).touch()
    return {"images": sum(1 for _ in folder.rglob("*.png")) or None}


def _generate(folder, making, spec):
    """Images from prompts, from real shots, or from a generator that was adapted to real shots."""
    from rs_course import datasets, generation
    from rs_course.classification import sets
    from rs_course.classification.controls import held_out
    from rs_course.classification.recipes import class_prompts, guidance_strength
    from rs_course.study import adaptation

    look = spec.get("look", spec["dataset"] if spec["dataset"] == "simulated" else "eurosat")
    shots, seed = spec.get("shots"), spec.get("seed", 0)
    if shots and shots.get("held_out"):
        data = held_out(spec["dataset"], image_size=shots["image_size"]).pool
    else:
        data = datasets.load(spec["dataset"], "train")
    settings = {key: spec[key] for key in SAMPLING if key in spec}
    checkpoint, dtype, seeds = spec["checkpoint"], spec.get("dtype"), range(seed, seed + spec.get("seeds", 1))
    if shots:
        tiles = sets.real_shots(data, shots["real_per_class"], seed=shots["seed"])
        seeds = [seed + 1000 * (1 + shots["seed"])]
    if making == "adapted":
        weights = folder.with_name(f"{folder.name}-checkpoint")
        checkpoint = adaptation.adapt(
            weights, checkpoint, tiles, steps=spec["adaptation"], seed=shots["seed"]
        )
        prompts = {name: [adaptation.prompt(name)] for name in data.classes}
    else:
        prompts = class_prompts(making, data.classes, dataset=look, count=spec.get("sentences", 200))
    if making == "real-guidance":
        settings.setdefault("strength", guidance_strength(shots["real_per_class"]))
    specs = generation.class_specs(
        prompts, spec["per_class"], shots=tiles if making == "real-guidance" else None
    )
    generation.generate(specs, checkpoint=checkpoint, out=folder, seed=list(seeds), dtype=dtype, **settings)


def _events(folder, making, spec):
    from rs_course.datasets import disasters

    disasters.write(folder, **spec)


def _xbd(folder, making, spec):
    from rs_course.datasets import xbd

    xbd.write(folder, **spec)


def _edit(folder, making, spec):
    from rs_course.study import inpaint_augmentation

    inpaint_augmentation.make(
        folder, folder.parent / spec["from"], **{k: v for k, v in spec.items() if k != "from"}
    )
