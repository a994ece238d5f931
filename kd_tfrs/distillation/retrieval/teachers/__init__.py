"""Teachers: the base class, and teachers with embeddings."""

from kd_tfrs.distillation.retrieval.teachers.base import (
    Side,
    Teacher,
    mask_seen,
    transpose_seen,
)
from kd_tfrs.distillation.retrieval.teachers.embedding import EmbeddingTeacher
from kd_tfrs.distillation.retrieval.teachers.top_k import rank_all
from kd_tfrs.distillation.retrieval.teachers.two_tower import TwoTowerTeacher

__all__ = [
    "EmbeddingTeacher",
    "Side",
    "Teacher",
    "TwoTowerTeacher",
    "mask_seen",
    "rank_all",
    "transpose_seen",
]
