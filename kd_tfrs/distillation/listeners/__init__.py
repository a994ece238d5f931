"""Where a loss listens: over which candidates, for which queries."""

from kd_tfrs.distillation.listeners.base import Listener, first_occurrences
from kd_tfrs.distillation.listeners.features import Features
from kd_tfrs.distillation.listeners.in_batch import InBatch
from kd_tfrs.distillation.listeners.sampled import Sampled
from kd_tfrs.distillation.listeners.teacher_top_k import TeacherTopK

__all__ = [
    "Features",
    "InBatch",
    "Listener",
    "Sampled",
    "TeacherTopK",
    "first_occurrences",
]
