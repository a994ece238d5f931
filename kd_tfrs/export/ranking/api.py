"""All names of `kd_tfrs.export.ranking`."""

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

__all__ = [name for name in dir() if not name.startswith("_")]
