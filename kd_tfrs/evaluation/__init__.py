"""Every stage measured by the same scorer, on the same held-out events."""

from kd_tfrs.evaluation.baselines import AlsScorer, PopularityScorer
from kd_tfrs.evaluation.ids import Exclusions
from kd_tfrs.evaluation.protocol import FullRanking, Result
from kd_tfrs.evaluation.sampled import SampledRanking
from kd_tfrs.evaluation.scorers import (
    EmbeddingScorer,
    SavedModelScorer,
    Scorer,
)

__all__ = [
    "AlsScorer",
    "EmbeddingScorer",
    "Exclusions",
    "FullRanking",
    "PopularityScorer",
    "Result",
    "SampledRanking",
    "SavedModelScorer",
    "Scorer",
]
