"""What every test starts from: Keras 2, a clean session, a fixed seed."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import kd_tfrs  # noqa: F401  before TensorFlow: it chooses Keras 2

# isort: split
import pytest
import tensorflow as tf


@pytest.fixture(autouse=True)
def _clean_session():
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(0)
