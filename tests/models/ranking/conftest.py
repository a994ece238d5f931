"""A few features by hand, encoded rows of them, and NumPy's view of fields."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.data.schema import Encoding
from kd_tfrs.models import FeatureSet
from kd_tfrs.models.features import Feature
from kd_tfrs.models.ranking import RankingTask, build_ranker

FEATURES = (
    Feature("user_id", Encoding.ID, 5, 0, None),
    Feature("age", Encoding.NUMBER, 0, 0, None),
    Feature("Item id", Encoding.ID, 7, 0, None),
    Feature("genres", Encoding.CATEGORIES, 6, 3, None),
    Feature("price", Encoding.NUMBER, 0, 0, None),
)
LENGTH = 4
LIKED = RankingTask("liked")
RATING = RankingTask("rating", "rating")


class Ranker:
    """A network with random weights everywhere, and its parts in float64."""

    def __init__(self, config, tasks=(LIKED,), history=True, seed=0):
        options = {"history_length": LENGTH, "item_id": "Item id"}
        self.network = build_ranker(
            FeatureSet(FEATURES), config, tasks, **(options if history else {})
        )
        rng = np.random.default_rng(seed)
        self.network.set_weights(
            [
                # Variances stay positive.
                np.abs(w) if "variance" in v.name else w
                for v in self.network.weights
                for w in [rng.normal(scale=0.5, size=v.shape)]
            ]
        )

    def weights(self, layer):
        return [
            w.astype(np.float64)
            for w in self.network.get_layer(layer).get_weights()
        ]

    def dense(self, x, layer):
        kernel, *bias = self.weights(layer)
        return x @ kernel + (bias[0] if bias else 0.0)

    def relu(self, x, layer):
        return np.maximum(self.dense(x, layer), 0.0)

    def field(self, batch, name, suffix="embedding"):
        """`[b, dim]` of one feature."""
        position = [f.name for f in FEATURES].index(name)
        prefix = f"{position}_{name.replace(' ', '_')}"
        table, x = self.weights(f"{prefix}_{suffix}")[0], batch[name]
        if x.dtype == np.float32:
            return x[:, None] * table
        return table[x] if x.ndim == 1 else mean(table, x)

    def fields(self, batch, suffix="embedding"):
        """`[b, dim]` of every feature in turn."""
        return [self.field(batch, f.name, suffix) for f in FEATURES]

    def history_mean(self, batch):
        """`[b, dim]`, from the item's own table."""
        table = self.weights("2_Item_id_embedding")[0]
        return mean(table, batch["history"])

    def with_mean(self, batch):
        """The features and the mean of the history."""
        return [*self.fields(batch), self.history_mean(batch)]


def mean(table, ids):
    """Means of a list's rows, padding left out."""
    rows = [table[row[row != 0]] for row in ids]
    return np.array([r.sum(0) / max(1, len(r)) for r in rows])


@pytest.fixture
def ranker():
    return Ranker


@pytest.fixture
def features():
    return FeatureSet(FEATURES)


@pytest.fixture
def tasks():
    return LIKED, RATING


@pytest.fixture
def batch():
    """Eight encoded rows; the last has nothing in its lists."""
    rng = np.random.default_rng(1)
    rows = {
        "user_id": rng.integers(0, 5, 8),
        "age": rng.normal(size=8),
        "Item id": rng.integers(0, 7, 8),
        "genres": rng.integers(0, 6, (8, 3)),
        "price": rng.normal(size=8),
        "history": rng.integers(0, 7, (8, LENGTH)),
    }
    rows["genres"][-1] = rows["history"][-1] = 0
    return {
        name: x.astype(np.float32 if x.dtype == np.float64 else np.int32)
        for name, x in rows.items()
    }


@pytest.fixture
def labelled(batch):
    """A whole batch, as the model takes it."""
    rng = np.random.default_rng(2)
    return {
        "features": {k: tf.constant(v) for k, v in batch.items()},
        "labels": {
            "liked": tf.constant(rng.integers(0, 2, 8), tf.float32),
            "rating": tf.constant(rng.uniform(1, 5, 8), tf.float32),
        },
        "weight": tf.constant(rng.uniform(0.2, 2, 8), tf.float32),
        "row": tf.range(8),
    }
