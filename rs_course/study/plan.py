"""From a TOML file to tasks, and what they will cost.

    title = "Real EuroSAT with generated tiles"
    function = "rs_course.classification.experiment:run_task"

    [inputs]                       # what the results depend on besides the settings; hashed into every task
    code = ["rs_course.classification"]
    data = ["eurosat"]
    checkpoint = ["mini-text2earth"]

    [base]                         # settings of every task
    dataset = "eurosat"
    seed = [0, 1, 2]               # a list is swept over

    [[grid]]                       # each block is the product of its lists; blocks are joined
    arm = "real"
    real_per_class = [1, 4, 16]

    [[grid]]
    arm = "mixed"
    synthetic = "@tiles"
    real_per_class = [1, 4, 16]
    ratio = [1, 2, 4]

    [sets.tiles]                   # see rs_course.study.sets
    …

    [[tuning]]                     # and [frozen]: settings that are chosen on validation first; the
    …                              # tasks are then tested on a held-out part: see rs_course.study.freezing

    [cost]                                     # measured, in seconds of one processor core
    step = 0.025                               # of a step
    steps = { 1 = 500, 100 = 4000 }            # where their number is tuned: by real_per_class,
    steps_added = { 1 = 2000, 1000 = 8000 }    # and with further images
    times = { small-vit = 8.0 }                # so many times more, by classifier
    tiles_per_second = 18                      # of the generator
    adaptation_step = 0.3

A task that two blocks describe is run once. Further tables of the file (the generated sets, the hypotheses)
are kept in ``Plan.extra``, for another function than the usual one also tables of its own.
"""

from __future__ import annotations

import itertools
import json
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

from rs_course.study.freezing import fill
from rs_course.study.hypotheses import declared, only
from rs_course.study.sets import FROM_SHOTS, described, inherited

DEFAULT_FUNCTION = "rs_course.classification.experiment:run_task"
_PLAIN = (str, int, float, bool)
_TABLES = (
    "title", "question", "function", "inputs", "base", "grid", "tuning", "frozen", "sets", "judged", "lines",
    "hypotheses", "answer", "cost",
)  # fmt: skip
_COST = ("step", "steps", "steps_added", "times", "classes", "tiles_per_second", "adaptation_step")


@dataclass(frozen=True)
class Plan:
    """A study before it is run.

    Attributes:
        title: One line.
        function: ``"module:name"`` of the function that turns a task into a row.
        tasks: One dict of plain values per task, in the order of the file, each once.
        inputs: ``code`` (modules or packages), ``data`` and ``checkpoint`` (names or paths); see
            :mod:`rs_course.study.fingerprints`.
        extra: The file's other tables.
        tuning: The tables ``[[tuning]]``, each with its ``tasks``, which are judged on validation.
        frozen: The table ``[frozen]``.
    """

    title: str
    tasks: tuple[dict, ...]
    function: str = DEFAULT_FUNCTION
    inputs: dict = field(default_factory=dict)
    extra: dict = field(default_factory=dict)
    tuning: tuple[dict, ...] = ()
    frozen: dict = field(default_factory=dict)

    @property
    def held_out(self) -> bool:
        """Whether settings are frozen on validation before the test part is opened."""
        return bool(self.tuning or self.frozen)

    def resolve(self) -> Callable[[dict], dict]:
        """Import the task function.

        Raises:
            ValueError: Not ``"module:name"``, or there is no such function.
        """
        module, _, name = self.function.partition(":")
        try:
            return getattr(import_module(module), name)
        except (ModuleNotFoundError, AttributeError, ValueError) as error:
            if isinstance(error, ModuleNotFoundError) and error.name != module:
                raise
            raise ValueError(
                f"there is no function {self.function!r}: give 'package.module:function' of something that "
                "can be imported."
            ) from error


def read(path: str | Path, changes: dict | None = None) -> Plan:
    """Read a study configuration.

    Args:
        path: A TOML file, or the name of a shipped study.
        changes: Values in place of the file's, by dotted name: ``{"sets.tiles.per_class": 16}``.

    Raises:
        FileNotFoundError: No such file, nor a shipped study of this name.
        ValueError: Not TOML, no grid, a value that is no number, text, or list of them, a name that stands
            nowhere (a table, a setting, ``@set``, ``$tuning``), or a table that lacks something.
    """
    path = _locate(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not valid TOML: {error}.") from error
    for name, value in (changes or {}).items():
        _change(content, name, value)
    return from_dict(content, name=path.stem)


def _change(content: dict, name: str, value) -> None:
    *tables, key = name.split(".")
    for table in tables:
        inner = content.get(table)
        if not isinstance(inner, dict):
            raise ValueError(f"the study has no table [{'.'.join(tables)}], so {name} cannot be set.")
        content = inner
    content[key] = value


def from_dict(content: dict, *, name: str = "study") -> Plan:
    """As :func:`read`, from the parsed content."""
    content = dict(content)
    for table in ("base", "inputs", "frozen", "sets", "judged", "answer", "cost"):
        if not isinstance(content.get(table, {}), dict):
            raise ValueError(f"[{table}] is one table with keys and values, not a list.")
    usual = content.get("function", DEFAULT_FUNCTION) == DEFAULT_FUNCTION
    # Another function may have tables of its own, but hardly one that is called nearly like ours.
    tables = content if usual else [t for t in content if get_close_matches(t, _TABLES, 1, 0.8)]
    only(tables, _TABLES, "the study")
    base, blocks = content.pop("base", {}), content.pop("grid", [])
    if isinstance(blocks, dict):
        blocks = [blocks]
    if not blocks:
        raise ValueError(f"the study {name!r} has no [[grid]] block, so it has no tasks.")
    tuning = tuple(_tuning(block, base) for block in content.pop("tuning", []))
    frozen = content.pop("frozen", {})
    declared(content)
    described(content.get("sets", {}))
    only(content.get("inputs", {}), ("code", "data", "checkpoint"), "the table [inputs]")
    only(content.get("cost", {}), _COST, "the table [cost]")
    part = {"part": "test"} if tuning or frozen else {}
    tasks = _product([{**base, **block, **part} for block in blocks])
    _named([*tasks, *(t for block in tuning for t in block["tasks"])], content, tuning, frozen, usual)
    return Plan(
        title=content.pop("title", name),
        tasks=tasks,
        tuning=tuning,
        frozen=frozen,
        function=content.pop("function", DEFAULT_FUNCTION),
        inputs=content.pop("inputs", {}),
        extra=content,
    )


def _named(tasks: Iterable[dict], extra: dict, tuning: tuple, frozen: dict, usual: bool) -> None:
    """Check that every name in the tasks stands somewhere, before hours are spent on the others."""
    from rs_course.classification.experiment import Task

    settings = [setting.name for setting in fields(Task)]
    tuned = {*frozen, *(block["name"] for block in tuning)}
    for task in tasks:
        if usual:
            only(task, settings, "a task")
        for key, value in task.items():
            kind, name = str(value)[:1], str(value)[1:].partition("/")[0]
            if kind == "@":
                inherited(extra.get("sets", {}), name)
            if kind == "$" and name not in tuned:
                raise ValueError(f"{key} = {value!r} waits for a [[tuning]] called {name}: there is none.")


def _tuning(block: dict, base: dict) -> dict:
    if missing := [key for key in ("name", "choose", "grid") if key not in block]:
        raise ValueError(
            f"a [[tuning]] table lacks {missing[0]}: it has name, choose, grid, and per as wished."
        )
    only(block, ("name", "choose", "grid", "per"), f"the tuning {block['name']}")
    grids = block["grid"] if isinstance(block["grid"], list) else [block["grid"]]
    return {**block, "tasks": _product([{**base, **grid, "part": "validation"} for grid in grids])}


def _product(blocks: list[dict]) -> tuple[dict, ...]:
    """All tasks of the blocks, each once."""
    return tuple({json.dumps(task, sort_keys=True): task for b in blocks for task in _expand(b)}.values())


def _expand(block: dict) -> list[dict]:
    swept = {}
    for key, value in block.items():
        values = value if isinstance(value, list) else [value]
        if not values:
            raise ValueError(f"{key} = [] sweeps over nothing: give at least one value, or leave it out.")
        for item in values:
            if not isinstance(item, _PLAIN):
                raise ValueError(
                    f"{key} holds a {type(item).__name__}; a task's settings are numbers, texts, true or "
                    "false."
                )
        swept[key] = values
    return [dict(zip(swept, values, strict=True)) for values in itertools.product(*swept.values())]


def _locate(path) -> Path:
    from rs_course.paths import data_dir

    path = Path(path).expanduser()
    shipped = data_dir() / "studies" / f"{path.name.removesuffix('.toml')}.toml"
    if path.is_file():
        return path
    if path.parent == Path(".") and shipped.is_file():
        return shipped
    there = ", ".join(sorted(file.stem for file in shipped.parent.glob("*.toml")))
    raise FileNotFoundError(f"there is no study {str(path)!r}: give a TOML file, or one of {there}.")


def cost_table(plan: Plan) -> str:
    """Runs and core-hours by what they are for, and in all; without ``[cost]`` the number of tasks alone."""
    tuning = sum(len(block["tasks"]) for block in plan.tuning)
    told = f"{plan.title}: {len(plan.tasks)} tasks" + (f", after {tuning} to tune" if tuning else "")
    if "cost" not in plan.extra:
        return told
    costs = plan.extra["cost"]
    runs: dict[str, int] = defaultdict(int)
    seconds: dict[str, float] = defaultdict(float)
    for name, tasks in [("tuning", [t for b in plan.tuning for t in b["tasks"]]), ("", plan.tasks)]:
        for task in tasks:
            key = name or f"{task.get('classifier', 'small-cnn')}, {task['real_per_class']} per class"
            runs[key] += 1
            seconds[key] += _seconds(task, costs)
    for name, *_ in _sets_made(plan):
        spec, key = inherited(plan.extra["sets"], name[1:]), f"tiles of {name}"
        tiles = costs.get("classes", 10) * spec["per_class"] * spec.get("seeds", 1)
        runs[key] += 1
        seconds[key] += tiles / costs["tiles_per_second"]
        seconds[key] += spec.get("adaptation", 0) * costs["adaptation_step"]
    lines = [f"{key:40} {runs[key]:5} {seconds[key] / 3600:8.2f} core-hours" for key in runs]
    total = f"{'in all':40} {len(plan.tasks) + tuning:5} {sum(seconds.values()) / 3600:8.2f} core-hours"
    return "\n".join([told, *lines, total])


def _sets_made(plan: Plan) -> set[tuple]:
    """What is made: (name,) of a set for all tasks, (name, budget, seed) of one for a draw of shots."""
    found = set()
    for task in [*(t for block in plan.tuning for t in block["tasks"]), *plan.tasks]:
        name = task.get("synthetic", "")
        if name.startswith("@") and "path" not in (spec := plan.extra["sets"][name[1:]]):
            own = spec.get("making") in FROM_SHOTS
            found.add((name, task["real_per_class"], task["seed"]) if own else (name,))
    return found


def _seconds(task: dict, costs: dict) -> float:
    more = costs.get("times", {}).get(task.get("classifier", "small-cnn"), 1.0)
    guess = {
        name: {"per": "real_per_class", "values": {at: {"steps": count} for at, count in table.items()}}
        for name, table in costs.items()
        if name.startswith("steps")
    }
    wanted = {"steps": task.get("steps", 400), "real_per_class": task["real_per_class"]}
    return fill(wanted, guess)["steps"] * costs["step"] * more  # as if it were tuned already
