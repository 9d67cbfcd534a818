"""Settings are chosen on validation and frozen; only then is the test part opened, and the ledger says when.

In the study's file::

    [[tuning]]                          # in this order; each may use what those before it have chosen
    name = "recipe"
    choose = ["augment", "lr"]          # the combination with the best mean accuracy on validation …
    per = "real_per_class"              # … for every value of this; without it, one for all
    grid = { arm = "real", real_per_class = [1, 100], augment = ["flip", "flip+rotate"], seed = [100, 101] }

    [base]
    augment = "$recipe"                # what was chosen for the task's real_per_class (the nearest tuned one)

    [frozen.recipe]                     # or known already: what a finished run wrote into DIR/frozen.toml
    …

``DIR/frozen.json`` keeps the settings, their hash, when they were frozen, and every *look* at the test part:
a look is a list of tasks under one hash. Going on after an interruption is the same look. A second list of
tasks is a second look, and stands there; other settings after a look are refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from rs_course.study import results


@dataclass(frozen=True)
class Frozen:
    """Settings after tuning.

    Attributes:
        settings: By the name of a tuning: ``{"per": …, "values": {value of per: {setting: value}}}``.
        hash: Of the settings, which every row on the test part carries.
        at: When they were frozen.
    """

    settings: dict
    hash: str
    at: str


def now() -> str:
    """The time in UTC, to the microsecond: texts sort as times do."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def choose(rows: list[dict], block: dict) -> dict:
    """The best settings of a tuning.

    Args:
        rows: Finished tasks on validation.
        block: A ``[[tuning]]`` table.

    Returns:
        An entry of ``Frozen.settings``.

    Raises:
        ValueError: A row that was not judged on validation, or a setting that the rows do not have.
    """
    if wrong := [row for row in rows if row.get("part") != "validation"]:
        raise ValueError(f"settings are chosen on validation, not on {wrong[0].get('part') or 'test'!r}.")
    per, keys = block.get("per"), block["choose"]
    if missing := [key for key in (*keys, *([per] if per else [])) if any(key not in row for row in rows)]:
        raise ValueError(f"the tuning {block['name']!r} has no {missing[0]} in its grid.")
    found: dict[str, dict] = {}
    for row in rows:
        group = found.setdefault(_text(row[per]) if per else "", {})
        group.setdefault(json.dumps([row[key] for key in keys]), []).append(row["accuracy"])
    means = {value: {combo: np.mean(a) for combo, a in group.items()} for value, group in found.items()}
    best = {value: max(group, key=group.__getitem__) for value, group in means.items()}
    return {
        "per": per or "",
        "values": {value: dict(zip(keys, json.loads(combo), strict=True)) for value, combo in best.items()},
    }


def fill(task: dict, settings: dict) -> dict:
    """The task with frozen values in the place of ``"$name"``.

    Raises:
        ValueError: Nothing of that name, or without that setting.
    """
    filled = dict(task)
    for key, value in task.items():
        if not (isinstance(value, str) and value.startswith("$")):
            continue
        entry = settings.get(value[1:])
        if entry is None:
            raise ValueError(f"{key} = {value!r}, but nothing called {value[1:]} was tuned or frozen.")
        values = entry["values"]
        nearest = min(values, key=lambda name: _away(name, task.get(entry["per"])))
        chosen = values[nearest]
        if key not in chosen and len(chosen) == 1:  # whatever it was called where it was chosen
            chosen = {key: next(iter(chosen.values()))}
        if key not in chosen:
            raise ValueError(f"{key} = {value!r}, but {value[1:]} holds {', '.join(chosen)}.")
        filled[key] = chosen[key]
    return filled


def _away(name: str, value) -> float:
    """Distance of budgets on a logarithmic scale; of other values, whether they differ."""
    try:
        return abs(np.log(max(float(name), 1e-9)) - np.log(max(float(value), 1e-9)))
    except (TypeError, ValueError):
        return float(name != _text(value))


def _text(value) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def freeze(out: Path, settings: dict) -> Frozen:
    """Write the settings down, or see that they are the frozen ones.

    Raises:
        RuntimeError: The test part was opened under other settings.
    """
    file = Path(out) / "frozen.json"
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
    there = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
    if there and there["hash"] != digest:
        if there["looks"]:
            raise RuntimeError(
                f"the test part was opened on {there['looks'][0]['at'][:16]} under other settings "
                f"({there['hash']}): what is chosen after a look is tested on nothing. Restore those "
                "settings, or begin in a new folder and report both."
            )
        there = None
    if there is None:
        there = {"settings": settings, "hash": digest, "at": now(), "looks": []}
        results.write(file, there)
        (Path(out) / "frozen.toml").write_text(as_toml(settings), encoding="utf-8")
    return Frozen(there["settings"], there["hash"], there["at"])


def open_test(out: Path, ids: Collection[str]) -> str:
    """Note that these tasks look at the test part, before the first of them does.

    Returns:
        When this look began: now, or before the interruption.
    """
    file = Path(out) / "frozen.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    digest = hashlib.sha256(json.dumps(sorted(ids)).encode()).hexdigest()[:16]
    same = [look for look in content["looks"] if look["tasks"] == digest]
    if not same:
        same = [{"at": now(), "tasks": digest, "count": len(ids)}]
        results.write(file, {**content, "looks": content["looks"] + same})
    return same[0]["at"]


def read(folder: str | Path) -> dict:
    """What ``frozen.json`` says: ``settings``, ``hash``, ``at``, and every look at the test part with its
    ``at``, ``tasks`` (hash of their ids) and ``count``; nothing frozen and no look where there is none."""
    file = Path(folder) / "frozen.json"
    if not file.is_file():
        return {"settings": {}, "hash": "", "at": "", "looks": []}
    return json.loads(file.read_text(encoding="utf-8"))


def as_toml(settings: dict) -> str:
    """The tables ``[frozen.…]`` for the study's file."""
    lines = ["# Chosen on validation; put into the study's file, they take the place of the tuning."]
    for name, entry in settings.items():
        lines += [f"[frozen.{name}]", f"per = {json.dumps(entry['per'])}"]
        for value, chosen in entry["values"].items():
            inside = ", ".join(f"{key} = {json.dumps(v)}" for key, v in chosen.items())
            lines.append(f"values.{json.dumps(value)} = {{ {inside} }}")
    return "\n".join(lines) + "\n"
