"""Heads: how several tasks share a network."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.errors import UserError
from kd_tfrs.models.ranking import RankerConfig, RankingTask, build_ranker


def flat(found, batch):
    return np.concatenate(found.with_mean(batch), axis=1)


def test_shared_bottom(ranker, batch, tasks):
    found = ranker(RankerConfig("dnn", 3, (6,), tower_units=(4, 3)), tasks)
    outputs = found.network(batch)
    shared = found.relu(flat(found, batch), "hidden_0")
    for task in tasks:
        x = found.relu(shared, f"tower_{task.name}_hidden_0")
        x = found.relu(x, f"tower_{task.name}_hidden_1")
        logits = found.dense(x, f"head_{task.name}")[:, 0]
        np.testing.assert_allclose(
            outputs[task.output], logits, rtol=1e-4, atol=1e-5
        )
    np.testing.assert_allclose(outputs["hidden_0"], shared, atol=1e-5)


@pytest.mark.parametrize("architecture", ["dnn", "dcn"])
def test_mmoe(ranker, batch, tasks, architecture):
    config = RankerConfig(architecture, 3, (6, 5), experts=3)
    found = ranker(config, tasks)
    outputs = found.network(batch)
    x = flat(found, batch)
    hidden = [found.relu(x, f"expert_{i}_hidden_0") for i in range(3)]
    experts = [found.relu(hidden[i], f"expert_{i}_hidden_1") for i in range(3)]
    np.testing.assert_allclose(
        outputs["hidden_0"], np.concatenate(hidden, 1), atol=1e-5
    )
    gates = {}
    for task in tasks:
        scores = np.exp(found.dense(x, f"gate_{task.name}"))
        gate = scores / scores.sum(axis=1, keepdims=True)
        gates[task.name] = gate
        np.testing.assert_allclose(
            outputs[f"gate_{task.name}"], gate, atol=1e-5
        )
        mixed = sum(gate[:, [i]] * experts[i] for i in range(3))
        if architecture == "dcn":
            mixed = np.concatenate([mixed, outputs["interaction"]], axis=1)
        logits = found.dense(mixed, f"head_{task.name}")[:, 0]
        np.testing.assert_allclose(
            outputs[task.output], logits, rtol=1e-3, atol=1e-4
        )
    assert not np.allclose(gates["liked"], gates["rating"])


def test_a_task_alone_has_no_experts(features):
    for options in ({"experts": 2}, {"tower_units": (3,)}):
        with pytest.raises(UserError, match="are for several tasks"):
            build_ranker(
                features, RankerConfig(**options), (RankingTask("liked"),)
            )


def test_a_head_starts_at_the_bias_of_its_task(features, batch):
    labels = np.array([1.0, 0.0, np.nan, 0.0])
    weights = np.array([2.0, 1.0, 9.0, 3.0])
    tasks = (
        RankingTask("liked").starting_at(labels, weights),
        RankingTask("rating", "rating").starting_at(labels * 5),
    )
    starts = [t.initial_logit for t in tasks]
    np.testing.assert_allclose(starts, [np.log(1 / 2), 5 / 3], rtol=1e-6)
    network = build_ranker(features, RankerConfig("deepfm", 3), tasks)
    outputs = network({k: v for k, v in batch.items() if k != "history"})
    for task, start in zip(tasks, starts, strict=True):
        np.testing.assert_allclose(outputs[task.output], start, atol=0.1)


def test_one_class_alone_has_finite_odds():
    for labels, sign in ((np.ones(3), 1), (np.zeros(3), -1)):
        start = RankingTask("y").starting_at(labels).initial_logit
        np.testing.assert_allclose(start, sign * np.log(3), rtol=1e-6)
    with pytest.raises(UserError, match="labels with a weight"):
        RankingTask("y").starting_at(np.array([np.nan, 1.0]), np.zeros(2))


def test_dropout_drops_in_training_only(ranker, batch, tasks):
    config = RankerConfig("dnn", 3, (6, 5), dropout=0.5, experts=2)
    network = ranker(config, tasks).network
    without_gradients = [network(batch)["logits_liked"] for _ in range(2)]
    np.testing.assert_array_equal(*without_gradients)
    weighted = [network(batch, training=True)["logits_liked"] for _ in range(2)]
    assert not np.allclose(*weighted)


def test_logits_are_float32_under_a_float16_policy(features, batch):
    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        config = RankerConfig(
            "din", 3, (4,), activation="dice", l2=1.0, attention_softmax=True
        )
        network = build_ranker(
            features, config, (RankingTask("liked"),), 4, "Item id"
        )
        logits = network(batch, training=True)["logits_liked"]
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert logits.dtype == tf.float32
    assert np.isfinite(logits).all()
    assert network.losses[0].dtype == tf.float32
