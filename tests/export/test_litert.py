"""LiteRT files by value: what they say, how large they are, what is int8."""

import sys

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from kd_tfrs.compression import quantization_aware, quantize_tables
from kd_tfrs.data.schema import Encoding
from kd_tfrs.errors import UserError
from kd_tfrs.export import LiteRtRunner, compare_litert, to_litert
from kd_tfrs.models import FeatureSet
from kd_tfrs.models.features import Feature
from kd_tfrs.models.ranking import RankerConfig, RankingTask, build_ranker

pytest.importorskip("ai_edge_litert")

ROWS, LENGTH = 300, 5
FEATURES = (
    Feature("user_id", Encoding.ID, 2000, 0, None),
    Feature("age", Encoding.NUMBER, 0, 0, None),
    Feature("Item id", Encoding.ID, 1600, 0, None),
    Feature("genres", Encoding.CATEGORIES, 1200, 3, None),
)
# Only tables of a thousand weights and more are quantised by "dynamic".
TABLES = {(2000, 8), (1600, 8), (1200, 8)}


@pytest.fixture(scope="module")
def network():
    """Tables, a list, a history, crosses and two heads."""
    network = build_ranker(
        FeatureSet(FEATURES),
        RankerConfig("dcn", embedding_dim=8, hidden_units=(32,)),
        (RankingTask("liked"), RankingTask("rating", "rating")),
        history_length=LENGTH,
        item_id="Item id",
    )
    rng = np.random.default_rng(0)
    network.set_weights(
        [rng.normal(scale=0.2, size=w.shape) for w in network.weights]
    )
    return network


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(1)
    return {
        "user_id": rng.integers(0, 2000, ROWS).astype(np.int32),
        "age": rng.normal(size=ROWS).astype(np.float32),
        "Item id": rng.integers(0, 1600, ROWS).astype(np.int32),
        "genres": rng.integers(0, 1200, (ROWS, 3)).astype(np.int32),
        "history": rng.integers(0, 1600, (ROWS, LENGTH)).astype(np.int32),
    }


@pytest.fixture(scope="module")
def models(network, rows):
    """One file of each mode."""
    return {
        mode: to_litert(network, mode, rows if mode == "int8" else None)
        for mode in ("float32", "float16", "dynamic", "int8")
    }


def table_types(model):
    """Types of the tensors that have the shape of an embedding table."""
    interpreter = tf.lite.Interpreter(model_content=model)
    return {
        np.dtype(t["dtype"]).name
        for t in interpreter.get_tensor_details()
        if tuple(t["shape"]) in TABLES
    }


# Tolerances from the number of bits: float16 has 11 of them, int8 8. Logits
# here have a standard deviation of about 0.5.
@pytest.mark.parametrize(
    ("mode", "largest", "least_spearman", "share", "table"),
    [
        ("float32", 1e-5, 1.0, 1.0, "float32"),
        ("float16", 5e-3, 0.9999, 0.62, "float16"),
        ("dynamic", 0.1, 0.995, 0.4, "int8"),
        ("int8", 0.2, 0.98, 0.4, "int8"),
    ],
)
def test_modes_by_value_and_size(
    models, network, rows, mode, largest, least_spearman, share, table
):
    runner = LiteRtRunner(models[mode])
    parity = compare_litert(runner, network, rows)
    assert set(parity.spearman) == {"logits_liked", "logits_rating"}
    for name, correlation in parity.spearman.items():
        assert parity.max_difference[name] < largest
        assert correlation >= least_spearman - 1e-9
    assert runner.size_bytes <= share * len(models["float32"])
    assert table in table_types(models[mode])


@pytest.mark.parametrize("mode", ["float32", "int8"])
def test_any_batch_size_gives_equal_outputs(models, rows, mode):
    runner = LiteRtRunner(models[mode])
    whole = runner.predict(rows)
    for count in (1, 7, ROWS):
        some = runner.predict({k: x[:count] for k, x in rows.items()})
        for name, values in some.items():
            assert values.shape == (count,)
            np.testing.assert_allclose(values, whole[name][:count], atol=1e-5)


def test_a_file_is_read_and_other_features_are_left_alone(
    models, rows, tmp_path
):
    path = tmp_path / "ranker.tflite"
    path.write_bytes(models["float32"])
    runner = LiteRtRunner(path, threads=2)
    assert runner.inputs == ("Item_id", "age", "genres", "history", "user_id")
    assert runner.outputs == ("logits_liked", "logits_rating")
    assert runner.size_bytes == path.stat().st_size
    found = runner.predict({**rows, "position": np.ones(ROWS)})
    expected = LiteRtRunner(models["float32"]).predict(rows)
    np.testing.assert_allclose(
        found["logits_liked"], expected["logits_liked"], atol=1e-6
    )


def test_only_the_requested_outputs_are_in_the_file(network, rows, models):
    model = to_litert(network, outputs=["hidden_0"])
    found = LiteRtRunner(model).predict(rows)
    assert set(found) == {"hidden_0"}
    expected = network(rows)["hidden_0"]
    np.testing.assert_allclose(found["hidden_0"], expected, atol=1e-5)
    # Crosses and heads are gone.
    assert len(model) < len(models["float32"]) - 4 * 2 * 40 * 40


def test_int8_tables_alone_are_exact_in_litert(network, rows, models):
    """The same integers and scales, gathered by builtin operations."""
    small = quantize_tables(network)
    model = to_litert(small)
    parity = compare_litert(LiteRtRunner(model), small, rows)
    assert max(parity.max_difference.values()) < 1e-5
    assert "int8" in table_types(model)
    # 4800 rows of 8: 3 bytes less a weight, 4 more a row.
    saved = len(models["float32"]) - len(model)
    assert saved == pytest.approx(4800 * (8 * 3 - 4), rel=0.2)


def test_what_was_trained_for_int8_is_converted_with_its_ranges(rows):
    """The rounding is in the network already: LiteRT rounds alike."""
    network = build_ranker(
        FeatureSet(FEATURES[:2]),
        RankerConfig("dnn", embedding_dim=8, hidden_units=(64,)),
        (RankingTask("liked"),),
    )
    aware = quantization_aware(network)
    for _ in range(3):
        aware(rows, training=True)
    model = to_litert(aware, "dynamic")
    parity = compare_litert(LiteRtRunner(model), aware, rows)
    assert parity.spearman["logits_liked"] > 0.99
    assert "int8" in table_types(model)
    # A thousand weights between the fields and the hidden layer.
    kernel = [
        np.dtype(t["dtype"]).name
        for t in tf.lite.Interpreter(model_content=model).get_tensor_details()
        if tuple(t["shape"]) == (64, 16)
    ]
    assert kernel == ["int8"]


def test_mistakes_raise(network, rows, models, monkeypatch, tmp_path):
    with pytest.raises(UserError, match="`mode` should be one of float32"):
        to_litert(network, "int4")
    with pytest.raises(UserError, match=r"'int8' and `representative` missing"):
        to_litert(network, "int8")
    with pytest.raises(UserError, match=r"'dynamic' and .* given"):
        to_litert(network, "dynamic", rows)
    fewer = {k: x for k, x in rows.items() if k != "age"}
    with pytest.raises(UserError, match="no 'age' among"):
        to_litert(network, "int8", fewer)
    with pytest.raises(UserError, match=r"should have rows\. Received: 0"):
        to_litert(network, "int8", {k: x[:0] for k, x in rows.items()})
    with pytest.raises(UserError, match="`outputs` should be some"):
        to_litert(network, outputs=["hidden_7"])
    with pytest.raises(UserError, match="no 'age' among"):
        LiteRtRunner(models["float32"]).predict(fewer)
    with pytest.raises(
        UserError, match="`threads` should be a positive integer"
    ):
        LiteRtRunner(models["float32"], threads=0)
    with pytest.raises(UserError, match="should be a LiteRT model") as raised:
        LiteRtRunner(b"nothing of the kind")
    assert "\n" not in str(raised.value)
    with pytest.raises(UserError, match="should be a LiteRT file"):
        LiteRtRunner(tmp_path / "nowhere.tflite")
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(UserError, match=r"pip install kd_tfrs\[edge\]"):
        LiteRtRunner(models["float32"])


USER = ("user_id", "age", "history")
CANDIDATES = 50


@pytest.mark.parametrize("candidates", [None, CANDIDATES])
@pytest.mark.parametrize(
    ("mode", "largest", "least_spearman"),
    [("float32", 1e-4, 0.9999), ("int8", 0.25, 0.97)],
)
def test_one_user_is_what_repeated_rows_are(
    network, rows, mode, largest, least_spearman, candidates
):
    model = to_litert(
        network,
        mode,
        rows if mode == "int8" else None,
        user_inputs=USER,
        candidates=candidates,
    )
    sent = {k: x[:1] if k in USER else x[:CANDIDATES] for k, x in rows.items()}
    repeated = {
        k: np.repeat(x, CANDIDATES, axis=0) if k in USER else x
        for k, x in sent.items()
    }
    found, wanted = LiteRtRunner(model).predict(sent), network(repeated)
    for name, values in found.items():
        assert values.shape == (CANDIDATES,)
        assert np.abs(values - wanted[name]).max() < largest
        rank = stats.spearmanr(values, wanted[name]).statistic
        assert rank > least_spearman


@pytest.mark.parametrize(("users", "count"), [(None, 5), (USER, 0)])
def test_candidates_need_a_user(network, users, count):
    with pytest.raises(UserError, match="`candidates` should be positive"):
        to_litert(network, user_inputs=users, candidates=count)


@pytest.mark.parametrize(
    ("mode", "largest"), [("float32", 1e-4), ("int8", 0.25)]
)
def test_a_catalogue_in_the_file(network, rows, mode, largest):
    items = {k: x for k, x in rows.items() if k not in USER}
    model = to_litert(
        network,
        mode,
        rows if mode == "int8" else None,
        user_inputs=USER,
        candidates=CANDIDATES,
        catalogue=items,
    )
    item_rows = np.random.default_rng(3).integers(0, ROWS, CANDIDATES)
    user = {k: x[:1] for k, x in rows.items() if k in USER}
    found = LiteRtRunner(model).predict({**user, "item_row": item_rows})
    repeated = {k: np.repeat(x, CANDIDATES, axis=0) for k, x in user.items()}
    wanted = network(
        {**repeated, **{k: x[item_rows] for k, x in items.items()}}
    )
    for name, values in found.items():
        assert np.abs(values - wanted[name]).max() < largest
