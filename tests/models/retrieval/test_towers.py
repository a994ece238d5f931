"""Functional towers: named outputs, and what stands in each of them."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from kd_tfrs.data import Column
from kd_tfrs.errors import UserError
from kd_tfrs.models import FeatureSet, MaskedMean
from kd_tfrs.models.retrieval import (
    EDGE,
    STUDENT,
    TEACHER,
    TowerConfig,
    build_tower,
)
from kd_tfrs.testing.retrieval import tiny_world


@pytest.fixture(scope="module")
def world():
    return tiny_world()


def weights_of(tower):
    """Tables and kernels by the column they belong to."""
    return {
        layer.name.partition("_")[2].removesuffix("_embedding"): (
            layer.get_weights()[0]
        )
        for layer in tower.layers
        if layer.name.endswith("_embedding")
    }


def embedded(features, tables, weights):
    """Embeddings of every column, lists pooled without their padding."""
    vectors = []
    for feature in features:
        x, w = tables[feature.name], weights[feature.name]
        if not feature.vocabulary_size:
            vectors.append(x[:, None] * w)
        elif feature.length:
            rows = [w[ids[ids != 0]] for ids in x]
            vectors.append(
                np.array([r.sum(axis=0) / max(1, len(r)) for r in rows])
            )
        else:
            vectors.append(w[x])
    return vectors


@pytest.mark.parametrize("side", ["query", "candidate"])
@pytest.mark.parametrize("normalize", [True, False])
def test_without_hidden_layers_features_are_summed(world, side, normalize):
    features = getattr(world, side)
    tables = getattr(world, f"{side}_tables")
    tower = build_tower(features, TowerConfig(5, normalize=normalize))
    outputs = tower(tables)
    assert set(outputs) == {"embedding"}
    expected = sum(embedded(features, tables, weights_of(tower)))
    if normalize:
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(outputs["embedding"], expected, atol=1e-5)


def test_hidden_layers_have_names(world):
    config = TowerConfig(5, hidden_units=(7, 6), normalize=False)
    tower = build_tower(world.candidate, config)
    outputs = tower(world.candidate_tables)
    assert {k: v.shape[1] for k, v in outputs.items()} == {
        "hidden_0": 7,
        "hidden_1": 6,
        "embedding": 5,
    }
    x = np.concatenate(
        embedded(world.candidate, world.candidate_tables, weights_of(tower)),
        axis=1,
    )
    for name in ("hidden_0", "hidden_1"):
        kernel, bias = tower.get_layer(name).get_weights()
        x = np.maximum(x @ kernel + bias, 0)
        np.testing.assert_allclose(outputs[name], x, atol=1e-5)
    kernel, bias = tower.get_layer("projection").get_weights()
    np.testing.assert_allclose(
        outputs["embedding"], x @ kernel + bias, atol=1e-5
    )


def test_pooling_ignores_padding():
    ids = tf.constant([[3, 1, 0, 0], [0, 0, 0, 0], [2, 2, 2, 2]])
    table = np.arange(12.0, dtype=np.float32).reshape(4, 3) + 1
    pooled = MaskedMean()([tf.gather(table, ids), ids])
    np.testing.assert_allclose(
        pooled, [(table[3] + table[1]) / 2, [0, 0, 0], table[2]]
    )
    layer = MaskedMean.from_config(MaskedMean(name="pool").get_config())
    assert layer.name == "pool"


@pytest.mark.parametrize(
    "name",
    [
        "Book Title",
        "features",
        "embedding",
        "unit",
        "hidden_0",
        "0_i",
        "_x",
        "a/b",
        "x|y",
        "préf €",
    ],
)
def test_any_column_name_makes_a_tower(name):
    columns = [Column("i", "item", "id"), Column(name, "item", "category")]
    columns.append(Column(name + " ", "item", "number"))
    table = pd.DataFrame(
        {"i": [1, 2], name: ["x", "y"], name + " ": [1.0, 2.0]}
    )
    features = FeatureSet.adapt(columns, table)
    tower = build_tower(features, TowerConfig(3, hidden_units=(4,)))
    twin = tf.keras.models.clone_model(tower)
    twin.set_weights(tower.get_weights())
    encoded = features.encode(table)
    outputs = tower(encoded)
    assert set(outputs) == {"hidden_0", "embedding"}
    # Inputs go by the column's name, in whatever order.
    again = twin(dict(reversed(encoded.items())))
    np.testing.assert_array_equal(outputs["embedding"], again["embedding"])


def test_dropout_drops_in_training_only(world):
    for units in ((), (8,)):
        config = TowerConfig(16, hidden_units=units, dropout=0.5)
        tower = build_tower(world.query, config)
        without_gradients = [
            tower(world.query_tables)["embedding"] for _ in range(2)
        ]
        np.testing.assert_array_equal(*without_gradients)
        weighted = [
            tower(world.query_tables, training=True)["embedding"]
            for _ in range(2)
        ]
        assert not np.allclose(*weighted)


def test_a_tower_is_saved_and_loaded(world, tmp_path):
    config = TowerConfig(4, hidden_units=(6,), dropout=0.2)
    tower = build_tower(world.candidate, config)
    tower.save(tmp_path / "tower.keras")
    twin = tf.keras.models.load_model(tmp_path / "tower.keras")
    for name, values in tower(world.candidate_tables).items():
        np.testing.assert_array_equal(
            values, twin(world.candidate_tables)[name]
        )


def test_presets_shrink():
    sizes = [x.embedding_dim for x in (TEACHER, STUDENT, EDGE)]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize(
    "options",
    [
        {"embedding_dim": 0},
        {"hidden_units": (4, -1)},
        {"dropout": 1.0},
        {"dropout": -0.1},
    ],
)
def test_numbers_out_of_range(options):
    with pytest.raises(UserError, match="Received"):
        TowerConfig(**options)
