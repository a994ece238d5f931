"""All names of `kd_tfrs.evaluation.retrieval`."""

from kd_tfrs.evaluation.retrieval.baselines import AlsScorer, PopularityScorer
from kd_tfrs.evaluation.retrieval.protocol import (
    FullRanking,
    Result,
    SampledRanking,
)
from kd_tfrs.evaluation.retrieval.saved_model_scorer import SavedModelScorer
from kd_tfrs.evaluation.retrieval.scorers import EmbeddingScorer, Scorer

__all__ = [name for name in dir() if not name.startswith("_")]
