"""Making data sets with a generator: Parquet shards that survive a kill and that the next run completes.

>>> from rs_course import generation
>>> data = generation.generate(  # doctest: +SKIP
...     "classes:eurosat", checkpoint="mini-text2earth", out="runs/eurosat-like", per_prompt=100
... )

At the command line this is ``rs-course generate``.
"""

from .prompts import SampleSpec, class_specs, read_prompts
from .run import generate

__all__ = ["SampleSpec", "class_specs", "generate", "read_prompts"]
