"""All names of `kd_tfrs.distillation.retrieval`."""

from kd_tfrs.distillation.retrieval.cache import (
    Fingerprint,
    build_cache,
    load_cache,
)
from kd_tfrs.distillation.retrieval.candidates.all_candidates import (
    AllCandidates,
)
from kd_tfrs.distillation.retrieval.candidates.base import CandidateSampler
from kd_tfrs.distillation.retrieval.candidates.in_batch import InBatch
from kd_tfrs.distillation.retrieval.candidates.item_side import ItemSide
from kd_tfrs.distillation.retrieval.candidates.rank_sampled import RankSampled
from kd_tfrs.distillation.retrieval.candidates.sampled import Sampled
from kd_tfrs.distillation.retrieval.candidates.teacher_top_k import TeacherTopK
from kd_tfrs.distillation.retrieval.curriculum import (
    AdvanceCurriculum,
    TrajectoryTeacher,
)
from kd_tfrs.distillation.retrieval.distiller import Distiller
from kd_tfrs.distillation.retrieval.ensemble import EnsembleTeacher
from kd_tfrs.distillation.retrieval.feature_pairs import FeaturePair
from kd_tfrs.distillation.retrieval.initial import project_embeddings
from kd_tfrs.distillation.retrieval.list_features import ListFeatures
from kd_tfrs.distillation.retrieval.mutual import MutualDistiller
from kd_tfrs.distillation.retrieval.teachers.base import Teacher
from kd_tfrs.distillation.retrieval.teachers.embedding import EmbeddingTeacher
from kd_tfrs.distillation.retrieval.teachers.lists import ListTeacher
from kd_tfrs.distillation.retrieval.teachers.pairs import PairTeacher
from kd_tfrs.distillation.retrieval.teachers.scores import ScoreTeacher
from kd_tfrs.distillation.retrieval.teachers.two_tower import TwoTowerTeacher

__all__ = [name for name in dir() if not name.startswith("_")]
