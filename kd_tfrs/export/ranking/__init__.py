"""Ranking models as version folders of TensorFlow Serving."""

from kd_tfrs.export.ranking.client import SavedModelRanker
from kd_tfrs.export.ranking.inputs import RankingInputs
from kd_tfrs.export.ranking.keras_ranker import KerasRanker
from kd_tfrs.export.ranking.signatures import RankingModule
from kd_tfrs.export.ranking.tables import ServingTables
from kd_tfrs.export.ranking.verify import (
    RankingCheck,
    RankingParity,
    compare_rankers,
    verify_ranking,
)

__all__ = [
    "KerasRanker",
    "RankingCheck",
    "RankingInputs",
    "RankingModule",
    "RankingParity",
    "SavedModelRanker",
    "ServingTables",
    "compare_rankers",
    "verify_ranking",
]
