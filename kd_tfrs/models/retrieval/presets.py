"""Named sizes: a teacher, a student a tenth of it, one for the edge."""

from __future__ import annotations

from kd_tfrs.models.retrieval.towers import TowerConfig

TEACHER = TowerConfig(embedding_dim=200)
STUDENT = TowerConfig(embedding_dim=20)
EDGE = TowerConfig(embedding_dim=6)
