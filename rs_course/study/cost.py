"""What a study will cost, from what its parts were measured to cost on one processor core.

In the study's file::

    [cost]                                     # seconds of one core
    run = { 1 = 10, 100 = 70, 1000 = 200 }     # of a run that stops by itself, by real_per_class
    added = { 1 = 60, 1000 = 200 }             # of one with further images
    step = 0.025                               # of a step, where their number is fixed
    times = { small-vit = 8.0 }                # so many times more, by classifier
    tiles_per_second = 18                      # of the generator
    adaptation_step = 0.3
"""

from __future__ import annotations

from collections import Counter

from rs_course.study.plan import Plan
from rs_course.study.sets import FROM_SHOTS, inherited


def table(plan: Plan) -> str:
    """Runs and core-hours by what they are for, and in all; without ``[cost]`` the number of tasks alone."""
    tuning = sum(len(block["tasks"]) for block in plan.tuning)
    told = f"{plan.title}: {len(plan.tasks)} tasks" + (f", after {tuning} to tune" if tuning else "")
    if "cost" not in plan.extra:
        return told
    costs = plan.extra["cost"]
    runs, seconds = Counter(), Counter()
    for name, tasks in [("tuning", [t for b in plan.tuning for t in b["tasks"]]), ("", plan.tasks)]:
        for task in tasks:
            key = name or f"{task.get('classifier', 'small-cnn')}, {task['real_per_class']} per class"
            runs[key] += 1
            seconds[key] += _run(task, costs)
    for name, *_ in _sets(plan):
        spec, key = inherited(plan.extra["sets"], name[1:]), f"tiles of {name}"
        tiles = costs.get("classes", 10) * spec["per_class"] * spec.get("seeds", 1)
        runs[key] += 1
        seconds[key] += tiles / costs["tiles_per_second"]
        seconds[key] += spec.get("adaptation", 0) * costs["adaptation_step"]
    lines = [f"{key:40} {runs[key]:5} {seconds[key] / 3600:8.2f} core-hours" for key in runs]
    total = f"{'in all':40} {len(plan.tasks) + tuning:5} {sum(seconds.values()) / 3600:8.2f} core-hours"
    return "\n".join([told, *lines, total])


def _sets(plan: Plan) -> set[tuple]:
    """What is made: (name,) of a set for all tasks, (name, budget, seed) of one for a draw of shots."""
    found = set()
    for task in [*(t for block in plan.tuning for t in block["tasks"]), *plan.tasks]:
        name = task.get("synthetic", "")
        if name.startswith("@") and "path" not in (spec := plan.extra["sets"][name[1:]]):
            own = spec.get("making") in FROM_SHOTS
            found.add((name, task["real_per_class"], task["seed"]) if own else (name,))
    return found


def _run(task: dict, costs: dict) -> float:
    more = costs.get("times", {}).get(task.get("classifier", "small-cnn"), 1.0)
    if not task.get("max_steps"):
        return task.get("steps", 400) * costs["step"] * more
    table = costs["run" if task.get("arm", "real") == "real" else "added"]
    known = {int(budget): seconds for budget, seconds in table.items()}
    return known[min(known, key=lambda budget: abs(budget - task["real_per_class"]))] * more
