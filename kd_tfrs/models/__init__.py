"""Retrieval models: features, towers, the TFRS model, optimizers."""

from kd_tfrs.models.features import Feature, FeatureSet
from kd_tfrs.models.optimizers import LazyAdam
from kd_tfrs.models.presets import EDGE, STUDENT, TEACHER
from kd_tfrs.models.retrieval import RetrievalModel
from kd_tfrs.models.towers import MaskedMean, TowerConfig, build_tower

__all__ = [
    "EDGE",
    "STUDENT",
    "TEACHER",
    "Feature",
    "FeatureSet",
    "LazyAdam",
    "MaskedMean",
    "RetrievalModel",
    "TowerConfig",
    "build_tower",
]
