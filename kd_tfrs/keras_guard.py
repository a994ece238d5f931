"""TensorFlow must come up with Keras 2: TFRS and TFMOT know no other."""

from __future__ import annotations

import os
import sys

_SWITCH = "TF_USE_LEGACY_KERAS"


def require_legacy_keras() -> None:
    """Makes `tf.keras` Keras 2 (tf-keras), or says how to get there.

    Sets the environment variable `TF_USE_LEGACY_KERAS=1` when TensorFlow is
    not imported yet. When it is, `tf.keras` may be bound to Keras 3 already,
    and only a new process can change that.

    Also hides `scann` from TensorFlow Recommenders: its wheel is built for an
    older TensorFlow, and importing TFRS beside it ends in a NotFoundError.

    Raises:
        ImportError: TensorFlow was imported before with Keras 3.

    Example:
    ```python
    import kd_tfrs  # first, before TensorFlow
    import tensorflow as tf
    ```
    """
    sys.modules.setdefault("scann", None)
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None:
        os.environ[_SWITCH] = "1"
        return
    keras_version = getattr(tensorflow.keras, "version", None)
    if keras_version is not None and keras_version().startswith("3."):
        raise ImportError(
            "kd_tfrs needs `tf.keras` to be Keras 2, but TensorFlow was "
            f"imported with Keras {keras_version()}. Import kd_tfrs before "
            f"tensorflow, or set {_SWITCH}=1 in the environment, and start "
            "Python again."
        )
