"""Every network against its paper's equations, in NumPy float64."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_recommenders as tfrs

from kd_tfrs.errors import UserError
from kd_tfrs.models import FeatureSet
from kd_tfrs.models.ranking import (
    FieldAttention,
    FieldDots,
    PairwiseProducts,
    RankerConfig,
    RankingTask,
    TargetPairs,
    WeightedHistory,
    build_ranker,
)
from kd_tfrs.models.ranking.linear import CrossedIds


def softmax(x):
    x = np.exp(x - x.max(axis=-1, keepdims=True))
    return x / x.sum(axis=-1, keepdims=True)


def check(found, batch, logits, interaction=None):
    outputs = found.network(batch)
    assert outputs["logits_liked"].shape == (8,)
    np.testing.assert_allclose(
        outputs["logits_liked"], logits[:, 0], rtol=1e-4, atol=1e-4
    )
    if interaction is None:
        assert "interaction" not in outputs
    else:
        np.testing.assert_allclose(
            outputs["interaction"], interaction, rtol=1e-4, atol=1e-4
        )


def deep(found, x):
    return found.relu(found.relu(x, "hidden_0"), "hidden_1")


def test_dnn(ranker, batch):
    found = ranker(RankerConfig("dnn", 3, (6, 5)))
    x = np.concatenate(found.with_mean(batch), axis=1)
    check(found, batch, found.dense(deep(found, x), "head_liked"))
    outputs = found.network(batch)
    hidden = found.relu(x, "hidden_0")
    np.testing.assert_allclose(outputs["hidden_0"], hidden, atol=1e-5)
    np.testing.assert_allclose(
        outputs["hidden_1"], found.relu(hidden, "hidden_1"), atol=1e-5
    )


def test_wide_deep(ranker, batch):
    config = RankerConfig(
        "wide_deep", 3, (6, 5), crosses=[["user_id", "Item id"]]
    )
    found = ranker(config)
    x = np.concatenate(found.with_mean(batch), axis=1)
    logits = found.dense(deep(found, x), "head_liked")
    logits += sum(found.fields(batch, "weight"))
    cross = found.weights("0_user_id_x_2_Item_id_weight")[0]
    assert cross.shape == (5 * 7, 1)
    logits += cross[batch["user_id"] * 7 + batch["Item id"]]
    check(found, batch, logits)


def test_more_pairs_than_rows_share_them():
    sizes = (2**31 - 1, 2**31 - 1)
    layer = CrossedIds(sizes, max_rows=1000)
    layer = CrossedIds.from_config(layer.get_config())
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 2**31 - 1, (2, 5000)).astype(np.int32)
    first[0] = second[0] = 2**31 - 2
    rows = layer([tf.constant(first), tf.constant(second)]).numpy()
    expected = [
        (int(a) * sizes[1] + int(b)) % (2**31 - 1) * 48271 % (2**31 - 1) % 1000
        for a, b in zip(first, second, strict=True)
    ]
    np.testing.assert_array_equal(rows, expected)
    assert layer.rows == 1000
    assert np.bincount(rows, minlength=1000).max() < 20


def test_crosses_are_of_categories(ranker):
    for name in ("age", "genres", "nothing"):
        config = RankerConfig("wide_deep", crosses=(("user_id", name),))
        with pytest.raises(UserError, match="`crosses` should name"):
            ranker(config)


def test_deepfm(ranker, batch):
    found = ranker(RankerConfig("deepfm", 3, (6, 5)))
    fields = found.with_mean(batch)
    pairs = sum(
        fields[i] * fields[j] for j in range(len(fields)) for i in range(j)
    )
    logits = found.dense(deep(found, np.concatenate(fields, 1)), "head_liked")
    logits += sum(found.fields(batch, "weight"))
    logits += pairs.sum(axis=1, keepdims=True)
    check(found, batch, logits, pairs)


def test_pairwise_products_keep_small_terms_beside_large_ones():
    x = np.float32([[[1e15], [1.0], [2.0]]])
    np.testing.assert_allclose(PairwiseProducts()(x), [[3e15 + 2]], rtol=1e-6)
    # The usual formula has lost everything: 1e30 does not know of 1e15.
    x = tf.constant([[[1e25], [1e-20], [0.0]]])
    usual = 0.5 * (tf.reduce_sum(x) ** 2 - tf.reduce_sum(x**2))
    assert not np.isfinite(usual)
    np.testing.assert_allclose(PairwiseProducts()(x), [[1e5]], rtol=1e-6)


def test_several_tasks_weigh_the_products_apart(ranker, batch, tasks):
    found = ranker(RankerConfig("deepfm", 3, (6, 5)), tasks)
    outputs = found.network(batch)
    x = np.concatenate(found.with_mean(batch), axis=1)
    shared = deep(found, x)
    pairs = found.dense(outputs["interaction"].numpy(), "second_order")
    linear = sum(found.fields(batch, "weight"))
    for i, task in enumerate(tasks):
        logits = found.dense(shared, f"head_{task.name}")[:, 0]
        logits += pairs[:, i] + linear[:, i]
        np.testing.assert_allclose(
            outputs[task.output], logits, rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("rank", [None, 2])
@pytest.mark.parametrize("stacked", [True, False])
def test_dcn(ranker, batch, rank, stacked):
    config = RankerConfig(
        "dcn", 3, (6, 5), cross_layers=3, projection_dim=rank, stacked=stacked
    )
    found = ranker(config)
    x0 = x = np.concatenate(found.with_mean(batch), axis=1)
    for i in range(3):
        *kernels, bias = found.weights(f"cross_{i}")
        if rank:
            assert [k.shape for k in kernels] == [(18, 2), (2, 18)]
        product = x
        for kernel in kernels:
            product = product @ kernel
        x = x0 * (product + bias) + x
    if stacked:
        top = deep(found, x)
    else:
        top = np.concatenate([deep(found, x0), x], axis=1)
    check(found, batch, found.dense(top, "head_liked"), x)


def test_dlrm(ranker, batch):
    found = ranker(RankerConfig("dlrm", 3, (6, 5), bottom_units=(4,)))
    numbers = np.stack([batch["age"], batch["price"]], axis=1)
    dense = found.relu(
        found.relu(numbers, "bottom_hidden_0"), "bottom_hidden_1"
    )
    names = ("user_id", "Item id", "genres")
    fields = [found.field(batch, name) for name in names]
    fields = [dense, *fields, found.history_mean(batch)]
    dots = np.stack(
        [
            (fields[i] * fields[j]).sum(axis=1)
            for i in range(len(fields))
            for j in range(i)
        ],
        axis=1,
    )
    top = deep(found, np.concatenate([dense, dots], axis=1))
    check(found, batch, found.dense(top, "head_liked"), dots)
    np.testing.assert_allclose(
        found.network(batch)["embeddings"], np.stack(fields, 1), atol=1e-4
    )


@pytest.mark.parametrize("itself", [True, False])
def test_dots_are_in_tfrs_order(itself):
    rng = np.random.default_rng(0)
    fields = [tf.constant(rng.normal(size=(5, 3))) for _ in range(4)]
    theirs = tfrs.layers.feature_interaction.DotInteraction(
        self_interaction=itself, dtype="float64"
    )
    ours = FieldDots(self_interaction=itself, dtype="float64")
    ours = FieldDots.from_config(ours.get_config())
    np.testing.assert_allclose(ours(fields), theirs(fields), rtol=1e-12)
    assert ours(fields).shape[1] == (10 if itself else 6)


def test_dlrm_without_numbers_keeps_the_fields(features):
    categories = FeatureSet([f for f in features if f.vocabulary_size])
    config = RankerConfig("dlrm", 3, ())
    network = build_ranker(categories, config, (RankingTask("liked"),))
    # Three fields of 3 and their three products.
    assert network.get_layer("head_liked").kernel.shape == (12, 1)


def test_dlrm_needs_two_fields(features):
    numbers = FeatureSet([f for f in features if not f.vocabulary_size])
    with pytest.raises(UserError, match="should have two fields or more"):
        build_ranker(numbers, RankerConfig("dlrm"), (RankingTask("liked"),))


@pytest.mark.parametrize("normalize", [None, True])
def test_din(ranker, batch, normalize):
    config = RankerConfig(
        "din",
        3,
        (6, 5),
        attention_units=(4,),
        attention_softmax=normalize,
        activation="prelu",
    )
    found = ranker(config)
    table = found.weights("2_Item_id_embedding")[0]

    def prelu(x, layer):
        x = found.dense(x, f"{layer}_linear")
        return np.where(x > 0, x, x * found.weights(layer)[0].reshape(-1))

    attended = []
    for item, history in zip(batch["Item id"], batch["history"], strict=True):
        v, total, weights, events = table[item], np.zeros(3), [], []
        for e in table[history[history != 0]]:
            x = prelu(np.concatenate([e, v, e - v, e * v]), "attention_0")
            weights.append(found.dense(x, "attention")[0])
            events.append(e)
        weights = (
            softmax(np.array(weights)) if normalize and events else weights
        )
        for a, e in zip(weights, events, strict=True):
            total += a * e
        attended.append(total)
    attended = np.stack(attended)
    assert not attended[-1].any()
    x = np.concatenate([*found.fields(batch), attended], axis=1)
    x = prelu(prelu(x, "hidden_0"), "hidden_1")
    check(found, batch, found.dense(x, "head_liked"), attended)


@pytest.mark.parametrize("normalize", [True, False])
def test_padding_never_counts(normalize):
    layer = WeightedHistory(softmax=normalize)
    layer = WeightedHistory.from_config(layer.get_config())
    ids = tf.constant([[3, 0, 2], [0, 0, 0]])
    scores = np.float32([[1e4, np.inf, -1e4], [np.inf, np.nan, 0]])[..., None]
    history = tf.Variable(np.ones((2, 3, 2), np.float32))
    with tf.GradientTape() as tape:
        y = layer([tf.constant(scores), history, ids])
    np.testing.assert_array_equal(
        y, [[1.0, 1.0], [0.0, 0.0]] if normalize else np.zeros((2, 2))
    )
    gradient = tape.gradient(y, history).numpy()
    assert np.isfinite(gradient).all()
    assert not gradient[0, 1].any()
    assert not gradient[1].any()


def test_pairs_of_event_and_target():
    history = tf.constant([[[1.0, 2.0], [3.0, 4.0]]])
    y = TargetPairs()([history, tf.constant([[5.0, 6.0]])])
    np.testing.assert_array_equal(y[0, 1], [3, 4, 5, 6, -2, -2, 15, 24])


def test_din_needs_a_history(ranker):
    with pytest.raises(UserError, match="`din` attends to a history"):
        ranker(RankerConfig("din"), history=False)


@pytest.mark.parametrize("units", [(), (6, 5)])
def test_autoint(ranker, batch, units):
    config = RankerConfig("autoint", 3, units, heads=2, attention_layers=2)
    found = ranker(config)
    fields = np.stack(found.with_mean(batch), axis=1)
    x = fields
    for i in range(2):
        name = f"attention_{i}"
        q, k, v, rest = (
            found.dense(x, f"{name}_{part}")
            for part in ("query", "key", "value", "residual")
        )
        heads = []
        for h in (slice(0, 3), slice(3, 6)):
            scores = np.einsum("bmd,bkd->bmk", q[..., h], k[..., h])
            heads.append(np.einsum("bmk,bkd->bmd", softmax(scores), v[..., h]))
        x = np.maximum(np.concatenate(heads, axis=2) + rest, 0)
    x = top = x.reshape(8, -1)
    if units:
        top = np.concatenate([deep(found, fields.reshape(8, -1)), x], axis=1)
    check(found, batch, found.dense(top, "head_liked"), x)


def test_attention_of_large_scores():
    layer = FieldAttention(heads=2)
    layer = FieldAttention.from_config(layer.get_config())
    x = tf.constant(np.eye(4, dtype=np.float32)[None] * 1e6)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer([x, x, x])
    # Each query is a key's own; a half that is zero attends to all alike.
    np.testing.assert_allclose(y[0, 0], [1e6, 0, 2.5e5, 2.5e5], rtol=1e-5)
    assert np.isfinite(tape.gradient(y, x)).all()
