from .cache import EmbeddingCache as EmbeddingCache
from .classes import (
    EUROSAT_TEMPLATES as EUROSAT_TEMPLATES,
    class_embeddings as class_embeddings,
    zero_shot as zero_shot,
)
from .contrastive import info_nce as info_nce, sigmoid_loss as sigmoid_loss
from .loading import load as load
from .pairs import (
    MinimalPair as MinimalPair,
    minimal_pair_accuracy as minimal_pair_accuracy,
    minimal_pairs as minimal_pairs,
)
from .ranking import Retrieval as Retrieval, ranks as ranks, retrieval as retrieval
from .scorer import Scorer as Scorer
