"""Candidate samplers: the queries and candidates that a loss compares."""

from kd_tfrs.distillation.retrieval.candidates.all_candidates import (
    AllCandidates,
)
from kd_tfrs.distillation.retrieval.candidates.base import (
    CandidateSampler,
    first_occurrences,
)
from kd_tfrs.distillation.retrieval.candidates.in_batch import InBatch
from kd_tfrs.distillation.retrieval.candidates.item_side import ItemSide
from kd_tfrs.distillation.retrieval.candidates.rank_sampled import RankSampled
from kd_tfrs.distillation.retrieval.candidates.sampled import Sampled
from kd_tfrs.distillation.retrieval.candidates.teacher_top_k import TeacherTopK

__all__ = [
    "AllCandidates",
    "CandidateSampler",
    "InBatch",
    "ItemSide",
    "RankSampled",
    "Sampled",
    "TeacherTopK",
    "first_occurrences",
]
