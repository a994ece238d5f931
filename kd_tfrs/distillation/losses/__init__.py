"""Distillation losses: a teacher's scores as `y_true`, a student's beside."""

from kd_tfrs.distillation.losses.base import (
    DistillationLoss,
    Heard,
    Untempered,
    masked_log_softmax,
    masked_mean,
)
from kd_tfrs.distillation.losses.feature_base import FeatureLoss
from kd_tfrs.distillation.losses.response import (
    ScoreRegression,
    SoftLabelLikelihood,
    SoftTargets,
    TeacherHardLabel,
)

__all__ = [
    "DistillationLoss",
    "FeatureLoss",
    "Heard",
    "ScoreRegression",
    "SoftLabelLikelihood",
    "SoftTargets",
    "TeacherHardLabel",
    "Untempered",
    "masked_log_softmax",
    "masked_mean",
]
