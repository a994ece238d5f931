"""Each network's own part fits what no linear model fits: XOR."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.data.schema import Encoding
from kd_tfrs.models import FeatureSet, LazyAdam
from kd_tfrs.models.features import Feature
from kd_tfrs.models.ranking import (
    RankerConfig,
    RankingModel,
    RankingTask,
    build_ranker,
)

TASKS = (RankingTask("differ"),)
# Without hidden layers, so that it is not the perceptron that fits.
CONFIGS = {
    "dnn": RankerConfig("dnn", 4, (8,)),
    "wide_deep": RankerConfig("wide_deep", 4, (), crosses=(("a", "b"),)),
    "deepfm": RankerConfig("deepfm", 4, ()),
    "dcn": RankerConfig("dcn", 4, (), cross_layers=1),
    "dcn_low_rank": RankerConfig("dcn", 4, (), projection_dim=2),
    "dcn_stacked": RankerConfig("dcn", 4, (), stacked=True),
    "dlrm": RankerConfig("dlrm", 4, ()),
    "din": RankerConfig("din", 4, (), attention_units=(8,), activation="dice"),
    "autoint": RankerConfig("autoint", 4, (), attention_layers=1),
}


def fitted_loss(config):
    """Log loss over the four rows; the history is a, when there is one."""
    features = [Feature(n, Encoding.CATEGORY, 3, 0, None) for n in "ab"]
    rows = np.int32([[1, 1], [1, 2], [2, 1], [2, 2]])
    inputs = {"a": tf.constant(rows[:, 0]), "b": tf.constant(rows[:, 1])}
    history = {}
    if config.architecture == "din":
        features, history = features[1:], {"history_length": 2, "item_id": "b"}
        first = inputs.pop("a")
        inputs["history"] = tf.stack([first, tf.zeros_like(first)], axis=1)
    network = build_ranker(FeatureSet(features), config, TASKS, **history)
    model = RankingModel(network, TASKS)
    batch = {
        "features": inputs,
        "labels": {"differ": tf.constant([0.0, 1.0, 1.0, 0.0])},
        "weight": tf.ones([4]),
    }
    model.compile(optimizer=LazyAdam(0.03), steps_per_execution=100)
    data = tf.data.Dataset.from_tensors(batch).repeat(300)
    model.fit(data, verbose=0)
    return float(model.compute_loss(batch))


@pytest.mark.parametrize("name", CONFIGS)
def test_it_fits(name):
    assert fitted_loss(CONFIGS[name]) < 0.05


def test_a_linear_model_does_not():
    loss = fitted_loss(RankerConfig("dnn", 4, ()))
    np.testing.assert_allclose(loss, np.log(2), atol=0.01)
