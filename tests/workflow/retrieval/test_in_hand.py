"""The chain on objects that a user holds, without a run folder."""

import numpy as np
import pytest
import tensorflow as tf

import kd_tfrs as kd
from kd_tfrs.data import Split, split
from kd_tfrs.evaluation.retrieval import EmbeddingScorer
from kd_tfrs.testing.retrieval import tiny_interactions
from kd_tfrs.workflow.retrieval import measure
from kd_tfrs.workflow.retrieval.exporting import export_model
from kd_tfrs.workflow.retrieval.prepare import prepare_interactions
from kd_tfrs.workflow.retrieval.teacher_scorer import TeacherScorer


@pytest.fixture(scope="module")
def data():
    return prepare_interactions(tiny_interactions())


@pytest.fixture(scope="module")
def encoded(data):
    return data.encode()


def student(encoded):
    size = kd.TowerConfig(embedding_dim=4)
    model = kd.RetrievalModel(
        kd.build_tower(encoded.query, size),
        kd.build_tower(encoded.candidate, size),
    )
    model.compile(optimizer=kd.LazyAdam(0.05))
    return model


def embedding_tower(name, num_rows, dim=8):
    row = tf.keras.Input((), dtype=tf.string, name=name)
    hashed = tf.keras.layers.Hashing(num_rows)(row)
    return tf.keras.Model(row, tf.keras.layers.Embedding(num_rows, dim)(hashed))


def own_teacher(data):
    """Two plain Keras models that read raw ids."""
    return kd.TwoTowerTeacher(
        embedding_tower("user_id", 99),
        embedding_tower("item_id", 99),
        data.catalogue.user_inputs(),
        data.catalogue.item_inputs(),
        seen=data.seen(),
    )


def test_prepared_takes_a_split_of_ones_own():
    interactions = tiny_interactions()
    own = split(interactions, "ratio", seed=7)
    own = Split(own.train, own.test, own.validation)
    prepared = prepare_interactions(interactions, split=own)
    assert prepared.split is own
    held_out = own.test[interactions.schema.user_id].unique()
    np.testing.assert_array_equal(prepared.test.users, np.sort(held_out))


def test_a_split_may_be_named():
    interactions = tiny_interactions()
    prepared = prepare_interactions(interactions, split="ratio", seed=7)
    expected = split(interactions, "ratio", seed=7)
    assert prepared.split.test.equals(expected.test)


def test_inputs_follow_the_rows_and_nobody_comes_first(data):
    catalogue = data.catalogue
    inputs = catalogue.user_inputs("user_id", "country", "age")
    assert [inputs[name][0] for name in inputs] == ["", "", 0]
    users = catalogue.users
    for name in inputs:
        assert inputs[name][1:].tolist() == users[name].tolist()
    rows = catalogue.user_rows(inputs["user_id"])
    np.testing.assert_array_equal(rows, np.arange(catalogue.num_users + 1))
    items = catalogue.item_inputs()
    assert list(items) == ["item_id"]
    np.testing.assert_array_equal(
        catalogue.item_rows(items["item_id"]), np.arange(catalogue.num_items)
    )


def test_inputs_that_are_not_there(data):
    with pytest.raises(kd.UserError, match=r"'shoe_size'.*Choose from user_id"):
        data.catalogue.user_inputs("shoe_size")


def test_a_teacher_recommends_what_its_embeddings_say(data):
    teacher, catalogue = own_teacher(data), data.catalogue
    by_hand = EmbeddingScorer(
        catalogue.user_ids,
        teacher.embed_queries(tf.range(1, catalogue.num_users + 1)),
        catalogue.item_ids,
        teacher.embed_candidates(tf.range(catalogue.num_items)),
        teacher.embed_queries([0])[0],
    )
    users = [*catalogue.user_ids[::-1], "nobody"]
    expected, scores = by_hand.recommend(users, 5)
    found, same = TeacherScorer(teacher, data).recommend(users, 5)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(same, scores, rtol=1e-5)


def test_a_teacher_of_other_rows_is_refused(data):
    teacher = kd.PairTeacher(
        lambda batch: batch["a"], {"a": np.zeros(3)}, {"b": np.zeros(2)}
    )
    with pytest.raises(kd.UserError, match="Received: 3 and 2"):
        TeacherScorer(teacher, data)


def test_fit_distils_as_keras_would(data, encoded):
    teacher = own_teacher(data)
    weights = []
    for by_hand in (False, True):
        tf.keras.utils.set_random_seed(0)
        model = student(encoded)
        term = kd.DistillationTerm(
            kd.SoftTargets(), kd.TeacherTopK(k=3, num_queries=4)
        )
        distiller = kd.Distiller(teacher, model, term, student_loss_weight=0.2)
        distiller.compile(optimizer=kd.LazyAdam(0.05))
        if by_hand:
            batches = data.batches(encoded)
            dataset = batches.dataset(2, join=distiller.join)
            steps = batches.steps_per_epoch
            distiller.fit(dataset, epochs=2, steps_per_epoch=steps, verbose=0)
        else:
            found = kd.fit(distiller, data, epochs=2, progress=False)
        weights.append(model.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert isinstance(found, tf.keras.callbacks.History)
    assert found.epoch == [0, 1]
    assert {"loss", "student_loss", "soft_targets"} <= set(found.history)
    now = measure.validate(model, encoded, data)
    assert found.history["ndcg@20"][1] == pytest.approx(now["ndcg@20"])


def test_fit_lets_callbacks_watch_the_validation(data, encoded):
    stop = tf.keras.callbacks.EarlyStopping(
        "ndcg@20", min_delta=2.0, patience=1, mode="max"
    )
    history = kd.fit(
        student(encoded),
        data,
        epochs=9,
        callbacks=[stop],
        progress=False,
        batch_size=16,
        uniform_negatives=4,
    )
    # No epoch is better by 2: the second is one without progress.
    assert len(history.epoch) == 2


def test_rows_of_model_and_export_agree(data, encoded, tmp_path):
    model = student(encoded)
    version, parity = export_model(model, data, encoded, tmp_path, top_k=5)
    assert version == tmp_path / "1"
    assert parity.max_score_difference < 1e-4
    row, per_user = measure.measure_model("student", model, encoded, data)
    served, again = measure.measure_export("saved_model", version, data)
    assert (row["stage"], served["stage"]) == ("student", "saved_model")
    assert served["metrics"] == pytest.approx(row["metrics"], nan_ok=True)
    np.testing.assert_allclose(per_user["mrr"], again["mrr"])
    assert row["parameters"] == sum(w.size for w in model.get_weights())
    for found in (row, served):
        assert found["size_bytes"] > found["size_bytes_gzip"] > 0
    # Two tables of 4 columns, 4 bytes each; in 8 bits with a scale a row.
    rows = 1 + data.catalogue.num_users + data.catalogue.num_items
    assert row["model_bytes"] == rows * 4 * 4
    assert row["model_bytes_int8"] == rows * (4 + 4)
    assert row["validation"] == measure.validate(model, encoded, data)
    # The export brings the table of titles as well.
    assert served["size_bytes"] > row["size_bytes"]
