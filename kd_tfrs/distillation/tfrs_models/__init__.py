"""Distillation of any `tfrs.Model`, unchanged."""

from kd_tfrs.distillation.tfrs_models.distiller import ModelDistiller
from kd_tfrs.distillation.tfrs_models.selectors import (
    TaskEmbeddings,
    TaskScores,
)
from kd_tfrs.distillation.tfrs_models.teachers import ModelTeacher, TfrsTeacher

__all__ = [
    "ModelDistiller",
    "ModelTeacher",
    "TaskEmbeddings",
    "TaskScores",
    "TfrsTeacher",
]
