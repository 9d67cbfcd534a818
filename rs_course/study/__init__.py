"""Studies: a grid of settings, run as independent tasks into one ledger.

>>> from rs_course import study
>>> plan = study.read("data/studies/simulated_fast.toml")     # doctest: +SKIP
>>> rows = study.run(plan, "runs/fast")                        # doctest: +SKIP

A *plan* expands a TOML file to tasks; a *task* is a dict of plain values, and one function turns it into a
row of results; each finished task is a *record* on disk; the *ledger* is all records of a plan in one Parquet
file.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
