"""Models of other programs from their files, as functions of tensors."""

from __future__ import annotations

import dataclasses
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kd_tfrs.errors import UserError


def load_model_file(
    path: str | os.PathLike, signature: str | None = None
) -> Callable:
    """Loads a model file as a function of a batch's features.

    Args:
        path: a `.keras` file of Keras 2 or Keras 3, an `.h5` file of Keras 2,
            a SavedModel folder (of Keras or `tf.saved_model.save`, or
            `keras.Model.export`), or a `.tflite` file.
        signature: of a SavedModel or LiteRT file; the only one, or
            "serving_default", when `None`.

    Returns:
        A function from a tensor or a dict of tensors to a tensor or a dict of
        tensors, in inference mode.

    Raises:
        UserError: there is no such file or signature, or the file cannot be
            loaded.

    Example:
    ```python
    model = load_model_file("teacher.keras")
    model({"user_id": tf.constant(["1"]), "movie_id": tf.constant(["2"])})
    ```
    """
    path = Path(path)
    if (path / "saved_model.pb").is_file():
        return _saved_model(path, signature)
    if not path.is_file():
        raise UserError(
            "A model file should be a .keras, .h5 or .tflite file or a "
            f"SavedModel folder. Received: {str(path)!r}, which is neither. "
            "Correct the path."
        )
    if path.suffix == ".tflite":
        return _litert(path, signature)
    return _keras(path)


def _keras(path: Path) -> Callable:
    version = _keras_version(path)
    try:
        if version.startswith("3"):
            # The package Keras 3 beside `tf.keras`, which is Keras 2 here.
            import keras

            model = keras.saving.load_model(path, compile=False)
        else:
            model = tf.keras.models.load_model(path, compile=False)
    except (ValueError, TypeError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"A Keras file should be loadable. Received: {path.name}, of "
            f"Keras {version or '2'}: {reason} Import the module of its "
            "custom classes first, or save its weights."
        ) from None
    return lambda inputs: model(inputs, training=False)


def _keras_version(path: Path) -> str:
    if not zipfile.is_zipfile(path):
        return ""
    with zipfile.ZipFile(path) as archive:
        if "metadata.json" not in archive.namelist():
            return ""
        return json.loads(archive.read("metadata.json"))["keras_version"]


def _saved_model(path: Path, signature: str | None) -> Callable:
    loaded = tf.saved_model.load(str(path))
    names = list(loaded.signatures)
    if signature is None and not names and callable(loaded):
        return loaded
    function = loaded.signatures[_chosen(signature, names)]
    keys = list(function.structured_input_signature[1])
    return _Signature(loaded, function, keys)


@dataclasses.dataclass(frozen=True)
class _Signature:
    """A signature; its variables live as long as `loaded`."""

    loaded: Any
    function: Callable
    keys: list[str]

    def __call__(self, inputs: Any) -> Mapping[str, tf.Tensor]:
        return self.function(**_by_name(inputs, self.keys))


def _litert(path: Path, signature: str | None) -> Callable:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        raise UserError(
            "A LiteRT file needs the package ai-edge-litert. Received: "
            f"{path.name}. Install it with pip install 'kd_tfrs[edge]'."
        ) from None
    interpreter = Interpreter(model_path=str(path))
    names = list(interpreter.get_signature_list())
    runner = interpreter.get_signature_runner(_chosen(signature, names))
    inputs_of = runner.get_input_details()
    outputs_of = runner.get_output_details()

    def run(*arrays: np.ndarray) -> list[np.ndarray]:
        found = runner(**dict(zip(inputs_of, arrays, strict=True)))
        return [np.float32(found[name]) for name in outputs_of]

    def call(inputs: Any) -> Mapping[str, tf.Tensor]:
        given = _by_name(inputs, list(inputs_of))
        arrays = [
            tf.cast(given[name], detail["dtype"])
            for name, detail in inputs_of.items()
        ]
        types = [tf.float32] * len(outputs_of)
        found = tf.nest.flatten(tf.numpy_function(run, arrays, types))
        for tensor, detail in zip(found, outputs_of.values(), strict=True):
            tensor.set_shape([None, *detail["shape"][1:]])
        return dict(zip(outputs_of, found, strict=True))

    return call


def _chosen(signature: str | None, names: list[str]) -> str:
    default = "serving_default"
    if signature is None:
        signature = names[0] if len(names) == 1 else default
    if signature not in names:
        raise UserError(
            f"`signature` should be one of {', '.join(names) or 'none'}. "
            f"Received: `signature` = {signature!r}. Name one of them."
        )
    return signature


def _by_name(inputs: Any, names: list[str]) -> Mapping[str, tf.Tensor]:
    if isinstance(inputs, Mapping):
        return {name: inputs[name] for name in names}
    if len(names) != 1:
        raise UserError(
            f"A teacher's file takes the inputs {', '.join(sorted(names))}. "
            "Received: one tensor. Name all of them in `inputs`."
        )
    return {names[0]: inputs}
