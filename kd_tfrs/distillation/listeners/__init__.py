"""Where a loss listens: over which candidates, for which queries."""

from kd_tfrs.distillation.listeners.all_candidates import AllCandidates
from kd_tfrs.distillation.listeners.base import Listener, first_occurrences
from kd_tfrs.distillation.listeners.features import Features
from kd_tfrs.distillation.listeners.in_batch import InBatch
from kd_tfrs.distillation.listeners.item_side import ItemSide
from kd_tfrs.distillation.listeners.rank_sampled import RankSampled
from kd_tfrs.distillation.listeners.sampled import Sampled
from kd_tfrs.distillation.listeners.teacher_top_k import TeacherTopK

__all__ = [
    "AllCandidates",
    "Features",
    "InBatch",
    "ItemSide",
    "Listener",
    "RankSampled",
    "Sampled",
    "TeacherTopK",
    "first_occurrences",
]
