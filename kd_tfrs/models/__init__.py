"""Retrieval models: features, towers, the TFRS model, optimizers."""

from kd_tfrs.models.ease import Ease, interaction_matrix
from kd_tfrs.models.features import Feature, FeatureSet
from kd_tfrs.models.lightgcn import LightGcn
from kd_tfrs.models.optimizers import LazyAdam
from kd_tfrs.models.presets import EDGE, STUDENT, TEACHER
from kd_tfrs.models.retrieval import RetrievalModel
from kd_tfrs.models.retrieval_task import FusedRetrieval
from kd_tfrs.models.towers import MaskedMean, TowerConfig, build_tower

__all__ = [
    "EDGE",
    "STUDENT",
    "TEACHER",
    "Ease",
    "Feature",
    "FeatureSet",
    "FusedRetrieval",
    "LazyAdam",
    "LightGcn",
    "MaskedMean",
    "RetrievalModel",
    "TowerConfig",
    "build_tower",
    "interaction_matrix",
]
