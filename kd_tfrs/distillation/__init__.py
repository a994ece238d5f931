"""Distillation: teachers, losses, where they listen, and the Distiller."""

from kd_tfrs.distillation.cache import build_cache, load_cache
from kd_tfrs.distillation.distiller import Distiller, Term
from kd_tfrs.distillation.listeners import (
    InBatch,
    Listener,
    Sampled,
    TeacherTopK,
)
from kd_tfrs.distillation.losses import (
    DistillationLoss,
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

__all__ = [
    "DistillationLoss",
    "Distiller",
    "EmbeddingTeacher",
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
