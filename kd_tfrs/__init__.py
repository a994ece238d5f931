"""kd_tfrs: distil large TensorFlow Recommenders models into small ones."""

from __future__ import annotations

import importlib
from typing import Any

from kd_tfrs.keras_guard import require_legacy_keras

require_legacy_keras()

__version__ = "0.1.0"

# The names of a first program; every room has more. They are imported when
# on first use: `import kd_tfrs` alone does not wait for TensorFlow.
_ROOMS = {
    "kd_tfrs.data": ("Column", "Interactions", "Schema", "clean", "load"),
    "kd_tfrs.functions": (
        "build_model",
        "build_teacher",
        "distill",
        "evaluate",
        "fit",
        "prune",
        "quantize",
        "recommend",
        "split",
    ),
    "kd_tfrs.models": ("LazyAdam",),
    "kd_tfrs.models.ranking": ("RankingModel",),
    "kd_tfrs.models.retrieval": (
        "RetrievalModel",
        "TowerConfig",
        "build_tower",
    ),
    "kd_tfrs.distillers": ("Distiller",),
    "kd_tfrs.distillation": (
        "BinarySoftTargets",
        "DistillationTerm",
        "Hint",
        "ScoreRegression",
        "SoftTargets",
    ),
    "kd_tfrs.distillation.tfrs_models": (
        "CatalogueScores",
        "PredictionTeacher",
        "ScoreTableTeacher",
        "TaskEmbeddings",
        "TaskScores",
        "TfrsTeacher",
        "TowersTeacher",
        "load_model_file",
    ),
    "kd_tfrs.distillation.ranking": ("NetworkTeacher", "RankingEnsemble"),
    "kd_tfrs.distillation.retrieval": (
        "AllCandidates",
        "EmbeddingTeacher",
        "InBatch",
        "ListTeacher",
        "PairTeacher",
        "ScoreTeacher",
        "TeacherTopK",
        "TwoTowerTeacher",
    ),
    "kd_tfrs.evaluation": ("paired_test", "plot_curves"),
    "kd_tfrs.evaluation.ranking": ("plot_calibration", "plot_roc"),
    "kd_tfrs.evaluation.retrieval": ("SavedModelScorer",),
    "kd_tfrs.export": ("Storage",),
    "kd_tfrs.errors": ("UserError",),
    "kd_tfrs.workflow.retrieval.table_student": ("table_student",),
}
_HOMES = {name: room for room, names in _ROOMS.items() for name in names}
# A room that is called as a function.
_HOMES["export"] = "kd_tfrs"

__all__ = [*sorted(_HOMES), "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if _HOMES[name] == __name__:
        return importlib.import_module(f"{__name__}.{name}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
