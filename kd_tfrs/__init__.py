"""kd_tfrs: distil large TensorFlow Recommenders models into small ones."""

from kd_tfrs.keras_guard import require_legacy_keras

require_legacy_keras()

__version__ = "0.1.0"
