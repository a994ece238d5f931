"""Named sizes: a teacher, a student of a tenth, and an edge model."""

from __future__ import annotations

from kd_tfrs.models.retrieval.towers import TowerConfig

TEACHER = TowerConfig(embedding_dim=200)
STUDENT = TowerConfig(embedding_dim=20)
EDGE = TowerConfig(embedding_dim=6)
