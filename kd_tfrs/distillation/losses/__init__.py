"""Distillation losses: a teacher's scores as `y_true`, a student's beside."""

from kd_tfrs.distillation.losses.base import (
    DistillationLoss,
    masked_log_softmax,
    masked_mean,
)
from kd_tfrs.distillation.losses.response import (
    ScoreRegression,
    SoftLabelLikelihood,
    SoftTargets,
    TeacherHardLabel,
)

__all__ = [
    "DistillationLoss",
    "ScoreRegression",
    "SoftLabelLikelihood",
    "SoftTargets",
    "TeacherHardLabel",
    "masked_log_softmax",
    "masked_mean",
]
