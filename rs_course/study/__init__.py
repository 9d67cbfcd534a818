"""Studies: a grid of settings, run as independent tasks into one ledger.

>>> from rs_course import study
>>> plan = study.read("data/studies/simulated_fast.toml")     # doctest: +SKIP
>>> rows = study.run(plan, "runs/fast")                        # doctest: +SKIP

A *plan* expands a TOML file to tasks; a *task* is a dict of plain values, and one function turns it into a
row of results; each finished task is a *record* on disk; the *ledger* is all records of a plan in one Parquet
file.
"""

from importlib import import_module

_HOME = {
    "Plan": "plan",
    "read": "plan",
    "run": "engine",
    "ledger": "records",
    "made": "sets",
    "stored": "records",
}


def __getattr__(name):
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["Plan", "ledger", "made", "read", "run", "stored"]
