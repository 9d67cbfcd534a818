"""Which figures a ledger has the rows for, and how to draw each from it.

A panel is a function from the ledger to a figure, or to ``None`` where its rows are missing.
"""

from __future__ import annotations

from pathlib import Path

from rs_course.study import figures
from rs_course.study.evidence import compare, complete, select

TITLES = {
    "learning_curves": "Accuracy against the number of real images",
    "gains": "What the added images bring over the real ones alone, with 95 % intervals",
    "controls": "Controls: copies, and pictures with wrong labels",
    "recipes": "Recipes against plain mixing of as many images, with 95 % intervals",
    "confusions": "Who is taken for whom: real, mixed and synthetic training",
}


def draw(ledger, out: Path, badge: str) -> list[str]:
    """Draw every panel that the ledger has rows for; returns their names."""
    from rs_course import plots

    plots.style()
    main, drawn = main_rows(ledger), []
    for name, panel in PANELS.items():
        figure = panel(main)
        if figure is not None:
            plots.badge(figure, badge)
            (out / f"{name}.png").write_bytes(plots.png(figure))
            drawn.append(name)
    return drawn


def main_rows(ledger, classifier: str | None = None):
    """The rows of one classifier and data set (the most frequent ones), with default settings filled in."""
    rows = complete(ledger)
    rows = select(rows, classifier=classifier or rows["classifier"].mode()[0])
    return select(rows, dataset=rows["dataset"].mode()[0]) if len(rows) and "dataset" in rows else rows


def plain(rows):
    """Those with the plain recipe and the usual augmentation."""
    if rows.empty:
        return rows  # a classifier whose runs are not done yet has no usual augmentation
    return select(rows, recipe="basic", augment=rows["augment"].mode()[0])


def by_set(rows) -> dict:
    """The rows of each synthetic set with those that use none, by what to add to a name: nothing for one."""
    used = list(rows["synthetic"].dropna().unique()) if "synthetic" in rows else []
    if len(used) < 2:
        return {"": rows}
    short = {name: name.lstrip("@").rpartition("/")[2] for name in used}
    return {f", {short[name]}": rows[rows["synthetic"].isna() | (rows["synthetic"] == name)] for name in used}


def lines(rows) -> dict:
    """The learning curves that there are: ``{name: rows}``."""
    usual = plain(rows)
    found = {"real": select(usual, arm="real")}
    for name, part in by_set(usual).items():
        found |= {
            f"real + 4 × synthetic{name}": select(part, arm="mixed", ratio=4, synthetic_per_class=0),
            f"real + all synthetic{name}": part[(part["arm"] == "mixed") & (part["synthetic_per_class"] > 0)],
        }
    found["copies (control)"] = select(usual, arm="duplicate")
    found["wrong labels (control)"] = select(usual, arm="shuffled")
    return {name: part for name, part in found.items() if len(part)}


def learning_curves(rows):
    """Accuracy of every arm against the budget."""
    return figures.learning_curves(found) if (found := lines(rows)) else None


def gains(rows):
    """Mixed minus real, budget by budget and ratio by ratio."""
    usual = plain(rows)
    ratios = sorted(set(select(usual, arm="mixed", synthetic_per_class=0)["ratio"]))
    if not ratios or not len(select(usual, arm="real")):
        return None
    better = {
        f"1:{ratio:g}{name}": {"arm": "mixed", "ratio": ratio, "synthetic_per_class": 0}
        | ({"synthetic": list(part["synthetic"].dropna().unique())} if name else {})
        for name, part in by_set(usual).items()
        for ratio in ratios
    }
    return figures.gains(usual, list(better.values()), {"arm": "real"}, names=list(better))


def controls(rows):
    """Real, copies, wrong labels and mixed at one budget, and the most synthetic images alone."""
    usual = select(plain(rows), synthetic_per_class=0)
    controlled = (part for part in by_set(usual).values() if len(select(part, arm="shuffled")))
    usual = next(controlled, usual)  # of several sets the one whose labels were permuted
    control = select(usual, arm=["duplicate", "shuffled"])
    if not len(control):
        return None
    budget, ratio = control["real_per_class"].max(), control["ratio"].max()
    at = select(usual, real_per_class=budget)
    found = {"real": select(at, arm="real")}
    found |= {name: select(at, arm=name, ratio=ratio) for name in ("duplicate", "shuffled", "mixed")}
    found["synthetic"] = most(select(usual, arm="synthetic"))
    figure = figures.bars({name: part for name, part in found.items() if len(part)})
    figure.axes[0].set_title(f"{budget} real images per class, 1:{ratio:g}")
    return figure


def recipes(rows):
    """Every recipe against plain mixing with as many images, averaged over the budgets both have."""
    if rows.empty:
        return None
    mixed = select(rows, arm="mixed", augment=rows["augment"].mode()[0])
    basic, differences = select(mixed, recipe="basic"), {}
    every = {
        f"{name}{suffix}": own
        for name in dict.fromkeys(mixed["recipe"])
        for suffix, own in by_set(select(mixed, recipe=name)).items()
        if name != "basic"
    }
    for name, own in every.items():
        same = basic.merge(own[["real_per_class", "seed", "n_synthetic"]].drop_duplicates())
        same = same.drop_duplicates(["real_per_class", "seed", "n_synthetic"])
        if len(same):
            both = _stack(own.assign(side="recipe"), same.assign(side="basic"))
            sides = {"side": "recipe"}, {"side": "basic"}
            differences[name] = compare(both, *sides, per="real_per_class", resamples=500).overall
    return figures.differences(differences, xlabel="points over plain mixing") if differences else None


def confusions(rows):
    """Confusion matrices at the largest budget that was mixed, and of the most synthetic images alone."""
    (name, usual), *_ = by_set(select(plain(rows), synthetic_per_class=0)).items()
    found = {}
    if len(mixed := select(usual, arm="mixed")):
        budget = mixed["real_per_class"].max()
        found["real"] = select(usual, arm="real", real_per_class=budget)
        found["mixed"] = most(select(mixed, real_per_class=budget))
    found["synthetic"] = most(select(usual, arm="synthetic"))
    found = {
        f"{arm}: {part['n_real'].iloc[0]} real, {part['n_synthetic'].iloc[0]} synthetic{name}": part
        for arm, part in found.items()
        if len(part)
    }
    return figures.confusions(found) if found else None


def most(rows):
    """The rows with the most synthetic images."""
    return rows[rows["n_synthetic"] == rows["n_synthetic"].max()]


def _stack(*parts):
    import pandas as pd

    return pd.concat(parts, ignore_index=True)


PANELS = {f.__name__: f for f in (learning_curves, gains, controls, recipes, confusions)}
