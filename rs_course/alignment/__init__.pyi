from . import corruptions as corruptions
from .scorer import EmbeddingCache as EmbeddingCache, Scorer as Scorer
from .loading import load as load
from .measures import (
    EUROSAT_TEMPLATES as EUROSAT_TEMPLATES,
    MinimalPair as MinimalPair,
    Retrieval as Retrieval,
    class_embeddings as class_embeddings,
    info_nce as info_nce,
    minimal_pair_accuracy as minimal_pair_accuracy,
    minimal_pairs as minimal_pairs,
    ranks as ranks,
    retrieval as retrieval,
    zero_shot as zero_shot,
)
