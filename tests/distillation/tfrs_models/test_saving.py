"""How a `tfrs.Model` of one's own is saved, as docs/models.md says.

Legacy Keras writes a file of it that it cannot load: weights, checkpoints and
the towers are what comes back.
"""

import numpy as np
import pytest
import tensorflow as tf


@pytest.fixture
def trained(models, dataset):
    model = models["basic_retrieval"](4)
    model.compile(tf.keras.optimizers.legacy.Adagrad(0.1))
    model.fit(dataset, verbose=0)
    return model


def embeddings(user_model, film_model, dataset):
    batch = next(iter(dataset))
    return user_model(batch["user_id"]), film_model(batch["movie_title"])


def assert_equal(model, other, dataset):
    for mine, its in zip(
        embeddings(model.user_model, model.movie_model, dataset),
        embeddings(other.user_model, other.movie_model, dataset),
        strict=True,
    ):
        np.testing.assert_array_equal(mine, its)


# An .h5 file asks for a model with `call`, which many lack.
def test_its_weights_come_back(trained, models, dataset, tmp_path):
    trained.save_weights(str(tmp_path / "weights"))
    fresh = models["basic_retrieval"](4)
    fresh.load_weights(str(tmp_path / "weights"))
    assert_equal(trained, fresh, dataset)


def test_its_checkpoint_comes_back(trained, models, dataset, tmp_path):
    path = tf.train.Checkpoint(model=trained).save(tmp_path / "checkpoint")
    fresh = models["basic_retrieval"](4)
    tf.train.Checkpoint(model=fresh).restore(path)
    assert_equal(trained, fresh, dataset)


@pytest.mark.parametrize("suffix", [".keras", ""])
def test_its_towers_come_back(trained, dataset, tmp_path, suffix):
    towers = []
    for name in ("user_model", "movie_model"):
        getattr(trained, name).save(tmp_path / f"{name}{suffix}")
        towers.append(tf.keras.models.load_model(tmp_path / f"{name}{suffix}"))
    wanted = embeddings(trained.user_model, trained.movie_model, dataset)
    found = embeddings(*towers, dataset)
    for mine, its in zip(wanted, found, strict=True):
        np.testing.assert_array_equal(mine, its)


def test_its_own_file_cannot_be_loaded(trained, tmp_path):
    # The day this fails, docs/models.md is to be changed.
    trained.save(tmp_path / "model.keras")
    with pytest.raises((ValueError, TypeError)):
        tf.keras.models.load_model(
            tmp_path / "model.keras",
            custom_objects={type(trained).__name__: type(trained)},
        )
