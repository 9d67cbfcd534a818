"""One page that answers: figures and a summary from a study's ledger.

    DIR/report/report.md      question, answer, findings with intervals, provenance
    DIR/report/*.png          learning curves, gains, controls, recipes, confusion matrices

What can be drawn depends on which arms the ledger holds; a figure whose rows are missing is left out.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from rs_course.study import claims, comparisons, figures, freezing, hypotheses, panels, results

_TITLES = {
    "convergence": "Accuracy on validation against the number of gradient steps, real tiles alone",
    "verdicts": "Every hypothesis at every budget, with 95 % intervals; colours after Holm's correction",
}


def write(folder, out=None) -> Path:
    """Draw the figures and write the page.

    Args:
        folder: Of the study.
        out: Where to write; by default ``report`` in that folder.

    Returns:
        The page.

    Raises:
        FileNotFoundError: No ledger there.
    """
    folder = Path(folder)
    study = described(folder)
    results.merge(folder, study["ids"])  # also of a study that is still running
    ledger = results.ledger(folder)
    out = Path(out) if out else folder / "report"
    out.mkdir(parents=True, exist_ok=True)
    tested, extra = ledger, study["extra"]
    if "part" in ledger:
        tested = ledger[ledger["part"] == "test"]
    findings = claims.judge(ledger, extra.get("claims", []))
    page = out / "report.md"
    if "hypotheses" in extra and len(tested):
        frozen = freezing.read(folder)
        text = summary(ledger, study, findings, _drawn(ledger, tested, extra, frozen, out, provenance(study)))
        text += "\n".join(_judged(tested, extra, frozen))
    else:
        drawn = panels.draw(tested, out, provenance(study)) if len(tested) else []
        text = summary(ledger, study, findings, drawn)
    page.write_text(text, encoding="utf-8")
    return page


def _drawn(ledger, tested, extra: dict, frozen: dict, out: Path, badge: str) -> list[str]:
    """Draw accuracy by budget of the arms that answer, how training converged, and all verdicts."""
    from rs_course import plots

    plots.style()
    judged, asked, settings = extra.get("judged", {}), extra["hypotheses"], frozen["settings"]
    answer = extra.get("answer", {"alone": asked[0]["name"], "borrowed": asked[0]["name"]})
    names = list(dict.fromkeys([answer["alone"], answer["borrowed"], *answer.get("beside", [])]))
    lines = hypotheses.curves(tested, asked, judged, settings, names)
    found = {"learning_curves": figures.learning_curves(lines)}
    if steps := comparisons.ladders(ledger):
        found["convergence"] = figures.learning_curves(steps, x="steps", xlabel="gradient steps")
    verdicts = [v for v in hypotheses.judge(tested, asked, judged, settings) if v.difference is not None]
    if verdicts:
        titles = {f"{v.name}, {v.budget}": v for v in verdicts}
        found["verdicts"] = figures.differences(
            {title: v.difference for title, v in titles.items()},
            verdicts={title: v.verdict for title, v in titles.items()},
        )
    for name, figure in found.items():
        plots.badge(figure, badge)
        (out / f"{name}.png").write_bytes(plots.png(figure))
    return list(found)


def _judged(tested, extra: dict, frozen: dict) -> list[str]:
    """Answer and verdicts for every budget, what memory gives, how often the test part was opened."""
    judged, asked, settings = extra.get("judged", {}), extra["hypotheses"], frozen["settings"]
    verdicts, answer = hypotheses.judge(tested, asked, judged, settings), extra.get("answer")
    lines = ["", "## Answer", ""]
    if answer:
        lines += [f"- {sentence}" for sentence in hypotheses.answers(verdicts, answer).values()]
        names = answer["alone"], answer["borrowed"]
        shares = hypotheses.memory(tested, asked, judged, *names, settings)
        for budget, (kept, low, high) in shares.items():
            lines.append(
                f"- {budget} per class: of the gain with borrowed memory, {100 * kept:.0f} % "
                f"[{100 * low:.0f}, {100 * high:.0f}] are left without it."
                if kept == kept
                else f"- {budget} per class: there is no clear gain of which memory could be a share."
            )
    times = len(frozen["looks"])
    lines += ["", f"The test part was opened {times} time{'s' if times != 1 else ''}."]
    lines += [
        "",
        "| budget | hypothesis | difference, points [95 %] | p, Holm | verdict |",
        "| --- " * 5 + "|",
    ]
    for verdict in verdicts:
        numbers = "", ""
        if verdict.difference is not None:
            numbers = hypotheses.points(verdict.difference), f"{verdict.p:.2g}"
        cells = [str(verdict.budget), verdict.text, *numbers, f"**{verdict.verdict}**"]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def described(folder) -> dict:
    """What ``study.json`` says: title, inputs, hashes, ids, and the file's other tables.

    Raises:
        FileNotFoundError: No study was run there.
    """
    if not (Path(folder) / "study.json").is_file():
        raise FileNotFoundError(
            f"no study was run in {folder}: run `rs-course study CONFIG --out {folder}` first."
        )
    return json.loads((Path(folder) / "study.json").read_text(encoding="utf-8"))


def provenance(study: dict) -> str:
    """The badge of a study's figures."""
    data = study["inputs"].get("data", [])
    names = ", ".join(data if isinstance(data, list) else [data]) or "no data named"
    return f"computed · {names} · checkpoint {study['hashes']['checkpoint'][:8]}"


def summary(ledger, study: dict, findings, drawn: list[str]) -> str:
    """The page as Markdown."""
    lines = [f"# {study['title']}", ""]
    if question := study["extra"].get("question"):
        lines += [f"*{question}*", ""]
    if findings:
        lines += [f"**{counted(findings)}**", "", *_findings(findings), ""]
    seeds, missing = ledger["seed"].nunique(), len(study["ids"]) - len(ledger)
    how = (
        "intervals take both for random (Student's *t*), *p* is Holm's over all verdicts."
        if "hypotheses" in study["extra"]
        else "intervals from a bootstrap over both; *d* is the mean difference of the seeds over their "
        "standard deviation."
    )
    lines += [
        f"{len(ledger)} runs, {seeds} seed{'s' if seeds > 1 else ''}. Differences are paired by seed and "
        f"test image, {how}"
    ]
    if missing:
        lines += ["", f"**{missing} of {len(study['ids'])} runs are not done.**"]
    lines += ["", "## Figures", ""]
    for name in drawn:
        title = (panels.TITLES | _TITLES)[name]
        lines += [f"![{title}]({name}.png)", "", f"*{title}.*", ""]
    lines += ["## Accuracy", "", _table(ledger), "", "## Provenance", ""]
    for kind, digest in study["hashes"].items():
        lines.append(f"- {kind}: `{digest}` ({study['inputs'].get(kind, 'none named')})")
    return "\n".join(lines) + "\n"


def counted(findings) -> str:
    """One sentence: how many claims are shown, not shown, contradicted."""
    verdicts = Counter(finding.verdict for finding in findings)
    order = (claims.SHOWN, claims.NOT_SHOWN, claims.CONTRADICTED, claims.MISSING)
    return f"Of {len(findings)} claims: {', '.join(f'{verdicts[v]} {v}' for v in order if verdicts[v])}."


def _findings(findings) -> list[str]:
    lines = [
        "| verdict | claim | difference, points [95 %] | *d* | errors removed | after |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for finding in findings:
        cells = ["", "", ""]
        if finding.comparison is not None:
            overall, removed = finding.comparison.overall, finding.comparison.error_removed
            cells = [claims.points(overall), f"{overall.cohens_d:+.1f}", f"{100 * removed:.0f} %"]
        lines.append(f"| {' | '.join([f'**{finding.verdict}**', finding.text, *cells, finding.source])} |")
    return lines


def _table(ledger) -> str:
    """Mean ± deviation of every setting, one line each."""
    from rs_course.classification.evaluation import spread

    settings = (
        "dataset",
        "classifier",
        "arm",
        "real_per_class",
        "ratio",
        "synthetic_per_class",
        "recipe",
        "augment",
    )
    keys = [key for key in settings if key in ledger and ledger[key].nunique(dropna=False) > 1] or ["arm"]
    lines = [f"| {' | '.join(keys)} | accuracy, % | macro F1, % |", "| --- " * (len(keys) + 2) + "|"]
    for values, rows in ledger.groupby(keys, sort=False, dropna=False):
        named = [
            "" if value != value else f"{value:g}" if isinstance(value, float) else str(value)
            for value in values
        ]
        scores = [f"{spread(100 * rows[name]):.1f}" for name in ("accuracy", "macro_f1")]
        lines.append(f"| {' | '.join(named + scores)} |")
    return "\n".join(lines)
