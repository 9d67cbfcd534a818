"""Claims of a study as data, and what the ledger says about them.

In the study's TOML file::

    [[claims]]
    text = "With few real tiles, adding generated ones helps"
    source = "He et al. 2023, section 4"
    better = { arm = "mixed", ratio = 4, real_per_class = [1, 2, 4, 8, 16] }
    worse = { arm = "real", real_per_class = [1, 2, 4, 8, 16] }
    per = "real_per_class"

A claim is **shown** when the 95 % interval of the paired difference lies above zero, **contradicted** when it
lies below, and otherwise **not shown**, which is not the same as shown to be false.
"""

from __future__ import annotations

from dataclasses import dataclass

from rs_course.study.evidence import Comparison, compare, complete

SHOWN, NOT_SHOWN, CONTRADICTED, MISSING = "shown", "not shown", "contradicted", "no rows"


@dataclass(frozen=True)
class Finding:
    """A claim with its evidence.

    Attributes:
        text, source: What is claimed, and by whom.
        verdict: "shown", "not shown", "contradicted", or "no rows".
        comparison: The numbers; ``None`` without rows.
        reason: Why there are none.
    """

    text: str
    source: str
    verdict: str
    comparison: Comparison | None
    reason: str = ""

    def __str__(self) -> str:
        if self.comparison is None:
            return f"{self.verdict}: {self.text} ({self.reason})"
        d = self.comparison.overall
        return f"{self.verdict}: {self.text} ({points(d)})"


def points(difference) -> str:
    """A difference in percentage points with its interval: ``+3.1 [+1.2, +5.0]``."""
    return f"{100 * difference.estimate:+.1f} [{100 * difference.low:+.1f}, {100 * difference.high:+.1f}]"


def judge(ledger, claims: list[dict], *, resamples: int = 2000, seed: int = 0) -> list[Finding]:
    """Weigh each claim.

    Args:
        ledger: Rows of a study.
        claims: Tables with ``text``, ``better``, ``worse``, and as wished ``source`` and ``per``.
        resamples, seed: Of the bootstrap.

    Raises:
        ValueError: A claim lacks ``text``, ``better`` or ``worse``.
    """
    findings, ledger = [], complete(ledger)
    for number, claim in enumerate(claims, start=1):
        if missing := {"text", "better", "worse"} - set(claim):
            raise ValueError(f"claim {number} lacks {', '.join(sorted(missing))}.")
        text, source = claim["text"], claim.get("source", "")
        try:
            sides = claim["better"], claim["worse"]
            comparison = compare(ledger, *sides, per=claim.get("per"), resamples=resamples, seed=seed)
        except ValueError as error:
            findings.append(Finding(text, source, MISSING, None, str(error)))
            continue
        findings.append(Finding(text, source, verdict(comparison.overall), comparison))
    return findings


def verdict(difference) -> str:
    """What an interval says about "above zero"."""
    if difference.low > 0:
        return SHOWN
    return CONTRADICTED if difference.high < 0 else NOT_SHOWN
