"""All names of `kd_tfrs.models.retrieval`."""

from kd_tfrs.models.retrieval.ease import Ease, interaction_matrix
from kd_tfrs.models.retrieval.lightgcn import LightGcn
from kd_tfrs.models.retrieval.model import RetrievalModel
from kd_tfrs.models.retrieval.task import FusedRetrieval
from kd_tfrs.models.retrieval.towers import (
    EDGE,
    STUDENT,
    TEACHER,
    TowerConfig,
    build_tower,
)

__all__ = [name for name in dir() if not name.startswith("_")]
