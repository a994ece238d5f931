"""Distillation: teachers, losses, where they listen, and the Distiller."""

from kd_tfrs.distillation.balance import GradientNormBalance
from kd_tfrs.distillation.cache import build_cache, load_cache
from kd_tfrs.distillation.distiller import Distiller
from kd_tfrs.distillation.listeners import (
    Features,
    InBatch,
    Listener,
    Sampled,
    TeacherTopK,
)
from kd_tfrs.distillation.losses import (
    DistillationLoss,
    FeatureLoss,
    Heard,
    ScoreRegression,
    SoftLabelLikelihood,
    SoftTargets,
    TeacherHardLabel,
)
from kd_tfrs.distillation.pair_teacher import PairTeacher
from kd_tfrs.distillation.teachers import (
    EmbeddingTeacher,
    Teacher,
    TwoTowerTeacher,
)
from kd_tfrs.distillation.terms import Term

__all__ = [
    "DistillationLoss",
    "Distiller",
    "EmbeddingTeacher",
    "FeatureLoss",
    "Features",
    "GradientNormBalance",
    "Heard",
    "InBatch",
    "Listener",
    "PairTeacher",
    "Sampled",
    "ScoreRegression",
    "SoftLabelLikelihood",
    "SoftTargets",
    "Teacher",
    "TeacherHardLabel",
    "TeacherTopK",
    "Term",
    "TwoTowerTeacher",
    "build_cache",
    "load_cache",
]
