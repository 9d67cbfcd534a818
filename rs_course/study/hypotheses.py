"""Hypotheses of a study as data, a verdict for each of them at every budget, and the answer in a sentence.

In the study's TOML file::

    [judged]                                  # what every side has in common
    classifier = "small-cnn"

    [[hypotheses]]
    name = "adapted"
    text = "Tiles of a generator that saw only the k shots help"
    short = "generator saw only these shots"
    better = { arm = "mixed", synthetic = "@adapted" }
    worse = { arm = "real" }
    real_per_class = [1, 4, 16, 100]          # one verdict each; left out where a study has one budget
    on = ["haze 1"]                           # as wished: on shifts of the test images, one verdict each

A hypothesis is **shown** at a budget when its difference lies above zero and Holm's (1979) correction over
all verdicts of the study leaves p below 0.05, **contradicted** when it lies below zero so clearly, and
otherwise **not shown**, which is not the same as shown to be false.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING

from rs_course.study.comparisons import PairedInterval, complete, interval, paired, share
from rs_course.study.freezing import fill

if TYPE_CHECKING:
    import pandas as pd

SHOWN, NOT_SHOWN, CONTRADICTED, MISSING = "shown", "not shown", "contradicted", "no rows"
LEVEL = 0.05
_HYPOTHESIS = ("name", "text", "short", "better", "worse", "real_per_class", "on")


@dataclass(frozen=True)
class Verdict:
    """A hypothesis at one budget.

    Attributes:
        name, text, short: As in the file.
        budget: Real images per class; ``None`` where the hypothesis names none.
        verdict: "shown", "not shown", "contradicted", or "no rows".
        difference: In accuracy, with its 95 % interval; ``None`` without rows.
        p: Corrected over all verdicts.
        reason: Why there are no rows.
    """

    name: str
    text: str
    short: str
    budget: int | None
    verdict: str
    difference: PairedInterval | None
    p: float = math.nan
    reason: str = ""

    def __str__(self) -> str:
        said = self.reason if self.difference is None else f"{points(self.difference)}, p = {self.p:.2g}"
        return f"{self.verdict}: {self.title} ({said})"

    @property
    def title(self) -> str:
        """Text and budget."""
        return self.text if self.budget is None else f"{self.text}, {self.budget} per class"


def points(difference: PairedInterval | None) -> str:
    """A difference in percentage points with its interval, ``+3.1 [+1.2, +5.0]``, or "no rows"."""
    if difference is None:
        return MISSING
    return f"{100 * difference.estimate:+.1f} [{100 * difference.low:+.1f}, {100 * difference.high:+.1f}]"


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down correction: the k-th smallest of m values times m - k + 1, never falling."""
    order, corrected, largest = sorted(range(len(p)), key=p.__getitem__), [0.0] * len(p), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - rank) * p[i]))
        corrected[i] = largest
    return corrected


def only(names: Iterable[str], keys: Iterable[str], what: str) -> None:
    """Refuse what a table of a study's file cannot hold: it would be left out without a word.

    Raises:
        ValueError: A key that is none of ``keys``.
    """
    keys = list(keys)
    for key in names:
        if key not in keys:
            close = get_close_matches(key, keys, 1)
            instead = f"did you mean {close[0]}?" if close else f"use {', '.join(keys)}."
            raise ValueError(f"{what} has no {key!r}: {instead}")


def declared(extra: dict) -> None:
    """Check the tables of a study that its ledger is read by, before anything is run.

    Args:
        extra: The study's tables beside the grid: ``hypotheses``, ``answer``, ``lines``.

    Raises:
        ValueError: A table lacks what it needs or holds what nobody reads, a name is used twice, or the
            answer names no hypothesis.
    """
    named: set[str] = set()
    for number, table in enumerate(extra.get("hypotheses", []), start=1):
        if missing := {"name", "text", "better", "worse"} - set(table):
            raise ValueError(f"hypothesis {number} lacks {', '.join(sorted(missing))}.")
        only(table, _HYPOTHESIS, f"hypothesis {number}")
        if sides := [side for side in ("better", "worse") if not isinstance(table[side], dict)]:
            raise ValueError(f'hypothesis {number}: {sides[0]} is a table of settings, {{ arm = "real" }}.')
        if table["name"] in named:
            raise ValueError(f"two hypotheses are called {table['name']!r}: give each its own name.")
        named.add(table["name"])
    for number, line in enumerate(extra.get("lines", []), start=1):
        if missing := {"label", "where"} - set(line):
            raise ValueError(f"line {number} lacks {', '.join(sorted(missing))}.")
        only(line, ("label", "where"), f"line {number}")
    if (answer := extra.get("answer")) is None:
        return
    if missing := {"alone", "borrowed"} - set(answer):
        raise ValueError(f"the table [answer] lacks {', '.join(sorted(missing))}.")
    only(answer, ("alone", "borrowed", "beside"), "the table [answer]")
    for name in [*listed(answer["alone"]), answer["borrowed"], *answer.get("beside", [])]:
        if name not in named:
            raise ValueError(f"[answer] names {name!r}, which no [[hypotheses]] table is called.")


def judge(
    ledger: pd.DataFrame, hypotheses: list[dict], judged: dict | None = None, settings: dict | None = None
) -> list[Verdict]:
    """A verdict for every hypothesis at every budget.

    Args:
        ledger: Rows of a study, finished or not.
        hypotheses: Tables as above.
        judged: Values of columns that all sides have in common.
        settings: What was frozen, for values such as ``"$mixing"``.

    Raises:
        ValueError: As :func:`declared`.
    """
    declared({"hypotheses": hypotheses})
    rows, found = complete(ledger), []
    for table in hypotheses:
        for budget, on in itertools.product(listed(table.get("real_per_class")), listed(table.get("on"))):
            suffix = f" on {on}" if on else ""
            names = table["name"], table["text"], table.get("short", table["text"])
            name, text, short = (part + suffix for part in names)
            try:
                difference = interval(_difference(rows, table, judged or {}, budget, settings, on))
            except ValueError as error:
                found.append(Verdict(name, text, short, budget, MISSING, None, reason=str(error)))
                continue
            found.append(Verdict(name, text, short, budget, NOT_SHOWN, difference, difference.p))
    # A verdict whose rows are not there yet counts too: otherwise half a study would be judged more mildly.
    corrected = holm([1.0 if verdict.difference is None else verdict.p for verdict in found])
    for k, (verdict, p) in enumerate(zip(found, corrected, strict=True)):
        if verdict.difference is not None:
            side = SHOWN if verdict.difference.estimate > 0 else CONTRADICTED
            found[k] = replace(verdict, p=p, verdict=side if p < LEVEL else NOT_SHOWN)
    return found


def listed(value: object) -> list:
    """A value of a study's file that may be one or several, as a list."""
    return value if isinstance(value, list) else [value]


def _difference(rows, table: dict, judged: dict, budget, settings=None, on=None):
    sides = []
    for side in (table["better"], table["worse"]):
        own = judged | side if budget is None else {"real_per_class": budget} | judged | side
        sides.append(side if "chance" in side else fill(own, settings or {}))
    better, worse = sides
    return paired(rows, better, worse, on)


def memory(
    ledger: pd.DataFrame,
    hypotheses: list[dict],
    judged: dict,
    part: str,
    whole: str,
    settings: dict | None = None,
) -> dict[int, tuple]:
    """What is left of one hypothesis's gain in another's: ``{budget: (share, low, high)}``.

    Args:
        ledger, hypotheses, judged, settings: As for :func:`judge`.
        part, whole: Their names: "adapted" saw the shots only, "today" every real tile.
    """
    rows, named, shares = complete(ledger), {table["name"]: table for table in hypotheses}, {}
    for budget in listed(named[part].get("real_per_class")):
        try:
            sides = [_difference(rows, named[name], judged, budget, settings) for name in (part, whole)]
        except ValueError:
            continue
        if sides[0].shape == sides[1].shape:
            shares[budget] = share(*sides)
    return shares


def answers(verdicts: list[Verdict], answer: dict) -> dict[int | None, str]:
    """One sentence for every budget.

    Args:
        verdicts: From :func:`judge`.
        answer: The study's table ``[answer]``: ``alone``, names of the hypotheses that decide (images of
            generators that saw no more real ones than the classifier help), ``borrowed``, the same with a
            generator that saw more, and ``beside``, names of others to be told.
    """
    sentences = {}
    alone, borrowed = listed(answer["alone"]), answer["borrowed"]
    for budget in dict.fromkeys(verdict.budget for verdict in verdicts):
        at = {verdict.name: verdict for verdict in verdicts if verdict.budget == budget}
        told = [at[name] for name in (*alone, borrowed, *answer.get("beside", [])) if name in at]
        measured = [(v, v.difference) for v in told if v.difference is not None]
        if not measured or not {*alone, borrowed} & at.keys():
            continue
        decided = _decided([at[name] for name in alone if name in at], at.get(borrowed))
        evidence = "; ".join(f"{v.short} {points(gain)} ({v.verdict})" for v, gain in measured)
        beside = f"{budget or 'the'} real {'image' if budget == 1 else 'images'}{' per class' * bool(budget)}"
        sentences[budget] = f"Synthetic images beside {beside}: {decided}. In points: {evidence}."
    return sentences


def _decided(alone: list[Verdict], borrowed: Verdict | None) -> str:
    """Yes, no or not shown, and on what condition; what has no rows is not known."""
    told = [*alone, *([borrowed] if borrowed else [])]
    if any(verdict.verdict == SHOWN for verdict in alone):
        return "yes, they help, even from a generator that saw no more real images than the classifier"
    if lacking := [verdict.short for verdict in told if verdict.difference is None]:
        return f"not known, because rows are missing ({', '.join(lacking)})"
    if borrowed and borrowed.verdict == SHOWN:
        only = "shown only for a generator that saw more real images than the classifier"
        return f"{only}; without this borrowed memory a gain is not shown"
    if all(verdict.verdict == CONTRADICTED for verdict in told):
        return "no, they cost accuracy"
    cost = ", and some cost accuracy" if any(verdict.verdict == CONTRADICTED for verdict in told) else ""
    return f"that they help is not shown{cost}"
