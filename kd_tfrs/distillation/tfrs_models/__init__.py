"""Distillation of any `tfrs.Model`, unchanged."""

from kd_tfrs.distillation.tfrs_models.distiller import ModelDistiller
from kd_tfrs.distillation.tfrs_models.files import load_model_file
from kd_tfrs.distillation.tfrs_models.selectors import (
    TaskEmbeddings,
    TaskScores,
)
from kd_tfrs.distillation.tfrs_models.teachers import (
    ModelTeacher,
    PredictionTeacher,
    ScoreTableTeacher,
    TfrsTeacher,
    TowersTeacher,
)

__all__ = [
    "ModelDistiller",
    "ModelTeacher",
    "PredictionTeacher",
    "ScoreTableTeacher",
    "TaskEmbeddings",
    "TaskScores",
    "TfrsTeacher",
    "TowersTeacher",
    "load_model_file",
]
