from . import disasters as disasters, simulated as simulated, xbd as xbd
from .loading import Scene as Scene, load as load, real_scene as real_scene
from .record import (
    Dataset as Dataset,
    collate as collate,
    group_split as group_split,
    overlap as overlap,
    place_groups as place_groups,
    stratified_split as stratified_split,
)
from .simulated import class_prompt as class_prompt
from .tables import (
    GENERATED_SCHEMA as GENERATED_SCHEMA,
    generated_schema as generated_schema,
    write_shard as write_shard,
)
