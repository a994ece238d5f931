"""A small data set as the TFRS tutorials batch it."""

import pathlib
import sys

import numpy as np
import pytest
import tensorflow as tf

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tutorials

USERS = [f"u{i}" for i in range(12)]
FILMS = [f"Film {i} ({1990 + i})" for i in range(20)]


@pytest.fixture(scope="session")
def features():
    rng = np.random.default_rng(0)
    count = 96
    users = rng.integers(len(USERS), size=count)
    films = rng.integers(len(FILMS), size=count)
    return {
        "user_id": np.array(USERS)[users],
        "movie_title": np.array(FILMS)[films],
        "user_rating": np.float32(1 + (users + films) % 5),
        "timestamp": np.float32(1e9 + 1e6 * rng.random(count)),
        "user_gender": np.array(["M", "F"])[users % 2],
        "user_occupation": np.array(["a", "b", "c"])[users % 3],
        "context_movie_title": np.array(FILMS)[
            (films[:, None] + np.arange(1, 4)) % len(FILMS)
        ],
        "label_movie_title": np.array(FILMS)[films],
    }


@pytest.fixture(scope="session")
def dataset(features):
    return tf.data.Dataset.from_tensor_slices(features).batch(32)


@pytest.fixture(autouse=True)
def _seed():
    tf.keras.utils.set_random_seed(3)


@pytest.fixture
def models(features, dataset):
    """Each tutorial's model by name, as a function of its width, built."""
    batch = next(iter(dataset))

    def built(make):
        def call(dim):
            model = make(dim)
            model.compute_loss(batch)
            return model

        return call

    return {name: built(make) for name, make in makers(features).items()}


def makers(features):
    vocabularies = {
        name: sorted(set(features[name]))
        for name in tutorials.DeepAndCross.FEATURES
    }
    return {
        "basic_retrieval": lambda dim: tutorials.BasicRetrieval(
            USERS, FILMS, dim
        ),
        "basic_ranking": lambda dim: tutorials.BasicRanking(USERS, FILMS, dim),
        "multitask": lambda dim: tutorials.MultiTask(USERS, FILMS, dim),
        "deep_and_cross": lambda dim: tutorials.DeepAndCross(vocabularies, dim),
        "sequential": lambda dim: tutorials.SequentialRetrieval(FILMS, dim),
        "context_features": lambda dim: tutorials.ContextFeatures(
            USERS, FILMS, features["timestamp"], dim
        ),
    }
