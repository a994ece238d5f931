"""Small rankers with random weights, encoded rows, and a teacher by hand."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.data.ranking.batches import RankingBatches
from kd_tfrs.data.schema import Encoding
from kd_tfrs.distillation.ranking import RankingTeacher
from kd_tfrs.models import FeatureSet
from kd_tfrs.models.features import Feature
from kd_tfrs.models.ranking import (
    RankerConfig,
    RankingModel,
    RankingTask,
    build_ranker,
)

ROWS = 24
SERVED = (
    Feature("user_id", Encoding.ID, 6, 0, None),
    Feature("item_id", Encoding.ID, 9, 0, None),
    Feature("price", Encoding.NUMBER, 0, 0, None),
)
PRIVILEGED = Feature("position", Encoding.NUMBER, 0, 0, None)
LIKED = RankingTask("liked")
CLICKED = RankingTask("clicked")
RATING = RankingTask("rating", "rating", 0.1)
STUDENT = RankerConfig("dnn", embedding_dim=2, hidden_units=(4,))
TEACHER = RankerConfig("dcn", embedding_dim=3, hidden_units=(6, 5), dropout=0.5)


class World:
    """Everything a test builds from."""

    liked, clicked, rating = LIKED, CLICKED, RATING

    def __init__(self):
        rng = np.random.default_rng(0)
        self.features = {
            "user_id": rng.integers(0, 6, ROWS).astype(np.int32),
            "item_id": rng.integers(0, 9, ROWS).astype(np.int32),
            "price": rng.normal(size=ROWS).astype(np.float32),
            "position": rng.normal(size=ROWS).astype(np.float32),
        }
        self.labels = {
            "liked": rng.integers(0, 2, ROWS).astype(np.float32),
            "clicked": rng.integers(0, 2, ROWS).astype(np.float32),
            "rating": rng.integers(1, 6, ROWS).astype(np.float32),
        }
        self.labels["liked"][3] = np.nan
        self.weights = rng.uniform(0.5, 2.0, ROWS).astype(np.float32)
        self.sessions = np.arange(ROWS, dtype=np.int32) // 5

    def network(self, config=STUDENT, tasks=(LIKED,), seed=0, extra=()):
        network = build_ranker(FeatureSet((*SERVED, *extra)), config, tasks)
        rng = np.random.default_rng(seed)
        network.set_weights(
            [rng.normal(scale=0.5, size=w.shape) for w in network.weights]
        )
        return network

    def student(self, tasks=(LIKED,), config=STUDENT, seed=1):
        return RankingModel(self.network(config, tasks, seed), tasks)

    def teacher(self, tasks=(LIKED,), config=TEACHER, seed=2):
        """Sees a feature that the student does not have."""
        network = self.network(config, tasks, seed, extra=(PRIVILEGED,))
        return RankingModel(network, tasks)

    def batches(self, batch_size=8, rows=slice(None), **options):
        extras = {"session": self.sessions[rows], **options.pop("extras", {})}
        return RankingBatches(
            {name: x[rows] for name, x in self.features.items()},
            {name: x[rows] for name, x in self.labels.items()},
            self.weights[rows],
            batch_size=batch_size,
            extras=extras,
            **options,
        )

    def batch(self):
        """All rows in order."""
        return next(iter(self.batches(ROWS).in_order()))


class FixedTeacher(RankingTeacher):
    """Says what it was given, for rows of the whole world."""

    widths = None

    def __init__(self, **outputs):
        self.widths = {}
        self.arrays = {
            name: np.asarray(x, np.float32) for name, x in outputs.items()
        }
        self.num_calls = 0

    def outputs(self, batch):
        self.num_calls += 1
        return {
            name: tf.gather(x, batch["row"]) for name, x in self.arrays.items()
        }


@pytest.fixture(scope="session")
def world():
    return World()


@pytest.fixture(scope="session")
def fixed_teacher():
    return FixedTeacher
