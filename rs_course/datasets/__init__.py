"""Data sets of the course, all with one record type.

>>> from rs_course import datasets
>>> data = datasets.load("simulated", "train", size=100)  # doctest: +SKIP
>>> record = data[0]                                       # doctest: +SKIP

``load`` takes a name or a path; the fields of a record are described in :mod:`rs_course.datasets.record`.
"""

from rs_course.datasets.loading import load
from rs_course.datasets.prompts import class_prompt
from rs_course.datasets.record import Dataset, collate
from rs_course.datasets.splits import group_split, overlap, place_groups, stratified_split
from rs_course.datasets.tables import GENERATED_SCHEMA, generated_schema, write_shard
from rs_course.deprecation import old_names

__getattr__ = old_names(__name__, {"events": "disasters"})
__all__ = [
    "GENERATED_SCHEMA",
    "Dataset",
    "class_prompt",
    "collate",
    "generated_schema",
    "group_split",
    "load",
    "overlap",
    "place_groups",
    "stratified_split",
    "write_shard",
]
