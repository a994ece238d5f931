"""What stands in each field, and what its penalty is."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.data.schema import Encoding
from kd_tfrs.errors import UserError
from kd_tfrs.models import FeatureSet
from kd_tfrs.models.features import Feature
from kd_tfrs.models.ranking import RankerConfig, RankingTask, build_ranker
from kd_tfrs.models.ranking.fields import NumberColumn

CONFIG = RankerConfig("dnn", 3, (4,))


def test_every_field(ranker, batch):
    found = ranker(CONFIG)
    expected = np.stack(found.with_mean(batch), axis=1)
    assert not expected[-1, -1].any(), "an empty history is no item"
    np.testing.assert_allclose(
        found.network(batch)["embeddings"], expected, atol=1e-6
    )


def test_without_a_history_there_is_no_input_for_it(ranker, batch):
    found = ranker(CONFIG, history=False)
    assert set(found.network.input) == set(batch) - {"history"}
    del batch["history"]
    np.testing.assert_allclose(
        found.network(batch)["embeddings"],
        np.stack(found.fields(batch), axis=1),
        atol=1e-6,
    )


def test_outliers_are_held_back(ranker, batch):
    layer = NumberColumn(limit=2.0)
    layer = NumberColumn.from_config(layer.get_config())
    np.testing.assert_array_equal(
        layer(tf.constant([-1e30, 1.5, 3.0])), [[-2.0], [1.5], [2.0]]
    )
    for architecture in ("dcn", "deepfm", "dlrm", "autoint"):
        network = ranker(RankerConfig(architecture, 3, (4,))).network
        batch["age"] = np.float32([3e38, -3e38, np.inf, -np.inf, 0, 1, 2, 3])
        assert np.isfinite(network(batch)["logits_liked"]).all()


def test_the_penalty_is_of_what_was_looked_up(ranker, batch):
    found = ranker(RankerConfig("dnn", 3, (4,), l2=0.5))
    batch["user_id"][:] = [1, 1, 1, 2, 2, 2, 2, 2]
    variables = {v.name: v for v in found.network.trainable_variables}
    with tf.GradientTape() as tape:
        found.network(batch)
        (penalty,) = found.network.losses
    squares = np.stack(found.with_mean(batch), axis=1) ** 2
    np.testing.assert_allclose(penalty, 0.5 * squares.sum() / 8, rtol=1e-5)
    table = variables["0_user_id_embedding/embeddings:0"]
    gradient = tape.gradient(penalty, table)
    assert isinstance(gradient, tf.IndexedSlices)
    dense = tf.convert_to_tensor(gradient).numpy()
    # The derivative of 0.5 * 3 / 8 * ||e_1||^2.
    np.testing.assert_allclose(dense[1], 3 / 8 * table[1], rtol=1e-5)
    assert not dense[[0, 3, 4]].any()


def test_the_only_id_is_the_historys():
    features = FeatureSet([Feature("i", Encoding.ID, 9, 0, None)])
    network = build_ranker(features, CONFIG, (RankingTask("y"),), 2)
    assert set(network.input) == {"i", "history"}


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"history_length": 3}, "`item_id` should name"),
        ({"history_length": 3, "item_id": "age"}, "`item_id` should name"),
        ({"history_length": 3, "item_id": "genres"}, "`item_id` should name"),
        ({"history_length": 3, "item_id": "none"}, "`item_id` should name"),
        ({"history_length": 0, "item_id": "Item id"}, "should be positive"),
        ({"item_id": "Item id"}, "is used with a history only"),
    ],
)
def test_a_history_that_does_not_fit(features, options, named):
    with pytest.raises(UserError, match=named):
        build_ranker(features, CONFIG, (RankingTask("y"),), **options)


def test_a_feature_called_history():
    features = FeatureSet(
        [
            Feature("i", Encoding.ID, 9, 0, None),
            Feature("history", Encoding.CATEGORIES, 9, 2, None),
        ]
    )
    tasks = (RankingTask("y"),)
    assert "history" in build_ranker(features, CONFIG, tasks).input
    with pytest.raises(UserError, match="no feature should be"):
        build_ranker(features, CONFIG, tasks, history_length=2)
