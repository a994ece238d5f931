"""Named sizes: a teacher, a student of a few per cent, and an edge model.

They set the options that all architectures have; for another architecture use
`dataclasses.replace(TEACHER, architecture="deepfm")`.
"""

from __future__ import annotations

from kd_tfrs.models.ranking.config import RankerConfig

TEACHER = RankerConfig(
    "dcn", embedding_dim=32, hidden_units=(256, 128), dropout=0.2, l2=1e-5
)
STUDENT = RankerConfig("dnn", embedding_dim=8, hidden_units=(32, 16))
EDGE = RankerConfig("dnn", embedding_dim=4, hidden_units=(16,))
