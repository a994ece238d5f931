"""Distillation of any `tfrs.Model`, unchanged."""

from kd_tfrs.distillation.tfrs_models.catalogue import CatalogueScores
from kd_tfrs.distillation.tfrs_models.distiller import ModelDistiller
from kd_tfrs.distillation.tfrs_models.files import load_model_file
from kd_tfrs.distillation.tfrs_models.keras_distiller import KerasDistiller
from kd_tfrs.distillation.tfrs_models.score_table import ScoreTableTeacher
from kd_tfrs.distillation.tfrs_models.selectors import (
    TaskEmbeddings,
    TaskScores,
)
from kd_tfrs.distillation.tfrs_models.teachers import (
    ModelTeacher,
    PredictionTeacher,
    TfrsTeacher,
    TowersTeacher,
)

__all__ = [
    "CatalogueScores",
    "KerasDistiller",
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
