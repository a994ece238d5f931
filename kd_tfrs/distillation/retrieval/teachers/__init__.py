"""Teachers: what all share, and those that have embeddings."""

from kd_tfrs.distillation.retrieval.teachers.base import (
    BatchScores,
    Side,
    Teacher,
    mask_seen,
    transpose_seen,
)
from kd_tfrs.distillation.retrieval.teachers.embedding import EmbeddingTeacher
from kd_tfrs.distillation.retrieval.teachers.top_k import rank_all
from kd_tfrs.distillation.retrieval.teachers.two_tower import TwoTowerTeacher

__all__ = [
    "BatchScores",
    "EmbeddingTeacher",
    "Side",
    "Teacher",
    "TwoTowerTeacher",
    "mask_seen",
    "rank_all",
    "transpose_seen",
]
