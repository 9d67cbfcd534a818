"""Studies: a grid of settings, run as independent tasks into one ledger.

>>> from rs_course import study
>>> plan = study.read("data/studies/simulated_fast.toml")     # doctest: +SKIP
>>> rows = study.run(plan, "runs/fast")                        # doctest: +SKIP

A *plan* expands a TOML file to tasks; a *task* is a dict of plain values, and one function turns it into a
row of results; each finished task is a *record* on disk; the *ledger* is all records of a plan in one Parquet
file.
"""

from rs_course import lazy

_HOME = {
    "Plan": "plan",
    "read": "plan",
    "run": "engine",
    "ledger": "records",
    "made": "sets",
    "stored": "records",
}

__getattr__, __dir__ = lazy.attach(__name__, _HOME)
__all__ = ["Plan", "ledger", "made", "read", "run", "stored"]
