"""Models of both tasks come back from Keras's own files."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.data.ranking.batches import RankingBatches
from kd_tfrs.models import LazyAdam
from kd_tfrs.models.ranking import RankingModel
from kd_tfrs.models.retrieval import RetrievalModel
from kd_tfrs.testing.ranking import tiny_ranking
from kd_tfrs.testing.retrieval import tiny_world


def retrieval():
    world = tiny_world()
    model = world.model(6, temperature=0.3)
    return model, world.batches(16).dataset(1), RetrievalModel


def ranking():
    world = tiny_ranking()
    train = world.examples.train
    features = world.features.encode(train.table)
    features["history"] = np.ones(train.history.shape, np.int32)
    batches = RankingBatches(features, train.labels, batch_size=16)
    model = world.model("dcn")
    return model, batches.dataset(1), RankingModel


@pytest.fixture(params=[retrieval, ranking])
def trained(request):
    model, batches, kind = request.param()
    model.compile(optimizer=LazyAdam(0.01))
    model.fit(batches, verbose=0)
    return model, next(iter(batches)), kind


def test_a_keras_file_holds_the_whole_model(trained, tmp_path):
    model, batch, kind = trained
    path = tmp_path / "model.keras"
    model.save(path)
    loaded = tf.keras.models.load_model(path)
    assert type(loaded) is kind
    networks = ("network", "query_tower", "candidate_tower")
    for name, value in model.get_config().items():
        if name not in networks:
            assert loaded.get_config()[name] == value
    for mine, its in zip(
        tf.nest.flatten(model(batch)),
        tf.nest.flatten(loaded(batch)),
        strict=True,
    ):
        np.testing.assert_array_equal(mine, its)
    outputs = model(batch)
    np.testing.assert_allclose(
        loaded.task_loss(batch, outputs), model.task_loss(batch, outputs)
    )
    # It trains on.
    loaded.compile(optimizer=LazyAdam(0.01))
    assert np.isfinite(loaded.train_step(batch)["loss"])


def test_a_saved_model_gives_the_same_outputs(tmp_path):
    # That of a ranker is written by `kd_tfrs.export`: Keras's own signature
    # refuses names of columns such as "Item title".
    model, batches, _ = retrieval()
    model.compile(optimizer=LazyAdam(0.01))
    model.fit(batches, verbose=0)
    batch = next(iter(batches))
    model.save(tmp_path / "model")
    loaded = tf.keras.models.load_model(tmp_path / "model")
    for mine, its in zip(
        tf.nest.flatten(model(batch)),
        tf.nest.flatten(loaded(batch)),
        strict=True,
    ):
        np.testing.assert_array_equal(mine, its)
