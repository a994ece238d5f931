"""Export: what a served model answers, and how it gets into place."""

from kd_tfrs.export.c_api import CSavedModel
from kd_tfrs.export.litert import to_litert
from kd_tfrs.export.litert_runner import (
    LiteRtParity,
    LiteRtRunner,
    compare_litert,
)
from kd_tfrs.export.ranking_client import SavedModelRanker
from kd_tfrs.export.ranking_export import RankingModule
from kd_tfrs.export.ranking_inputs import RankingInputs
from kd_tfrs.export.ranking_keras import KerasRanker
from kd_tfrs.export.ranking_tables import ServingTables
from kd_tfrs.export.ranking_verify import (
    RankingCheck,
    RankingParity,
    compare_rankers,
    export_ranking,
    verify_ranking,
)
from kd_tfrs.export.saved_model import export_saved_model, versions
from kd_tfrs.export.signatures import RetrievalModule
from kd_tfrs.export.stored_table import FLOAT32, Storage, StoredTable
from kd_tfrs.export.verify import Parity, compare_scorers, verify_export

__all__ = [
    "FLOAT32",
    "CSavedModel",
    "KerasRanker",
    "LiteRtParity",
    "LiteRtRunner",
    "Parity",
    "RankingCheck",
    "RankingInputs",
    "RankingModule",
    "RankingParity",
    "RetrievalModule",
    "SavedModelRanker",
    "ServingTables",
    "Storage",
    "StoredTable",
    "compare_litert",
    "compare_rankers",
    "compare_scorers",
    "export_ranking",
    "export_saved_model",
    "to_litert",
    "verify_export",
    "verify_ranking",
    "versions",
]
