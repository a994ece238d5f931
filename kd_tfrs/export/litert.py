"""LiteRT: a network as one small file for phones and single cores."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from scipy import stats

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.checks import check_k
from kd_tfrs.export.signature_functions import concrete, input_key
from kd_tfrs.models.one_user import OneUserCatalogue, OneUserNetwork

Outputs = dict[str, tf.Tensor]
ITEM_ROW = "item_row"
MODES = ("float32", "float16", "dynamic", "int8")
_CALIBRATION_ROWS = 500
# Number of users for each item in the calibration.
_CALIBRATION_USERS = 50
# A prime, so that the calibration covers the whole catalogue.
_STRIDE = 104_729


def to_litert(
    network: tf.keras.Model,
    mode: str = "float32",
    representative: Mapping[str, np.ndarray] | None = None,
    outputs: Sequence[str] | None = None,
    *,
    user_inputs: Collection[str] | None = None,
    candidates: int | None = None,
    catalogue: Mapping[str, np.ndarray] | None = None,
) -> bytes:
    r"""Converts a Functional network to a LiteRT model of builtin operations.

    The file takes *encoded* features: the integers and floats that
    `FeatureSet.encode` returns. Lookups and hashes of raw strings need
    TensorFlow's own operations (Flex), which no LiteRT wheel contains, so the
    client keeps the vocabularies. The batch size is free.

    With `user_inputs` the file scores `candidates` items of one user. These
    inputs have one row, and the layers that depend on them alone are computed
    once, see `OneUserNetwork`. This is many times faster.

    With the scale $s$ and the zero point $z$ of a tensor,

    $$x \approx s (q - z), \qquad q \in \{-128, \ldots, 127\}$$

    Args:
        network: a model from a dict of features to a dict of outputs.
        mode: "float32"; "float16", with weights of half the size; "dynamic",
            with int8 weights and scales by output for layers of a thousand
            weights and more, and float activations; "int8", with all
            weights, including embeddings, and activations in int8.
        representative: for "int8": encoded rows by feature, `[n, ...]`, from
            which the ranges of activations are estimated. At most 500 rows
            are used; a few hundred training rows are enough.
        outputs: names of the outputs to keep; the logits when `None`, or all
            outputs of a network without logits. Layers that no output needs
            are left out of the file.
        user_inputs: names of the inputs that all rows share, of shape
            `[1, ...]`; `None` where each row has its own user.
        candidates: with `user_inputs`, the fixed number of items; free when
            `None`, which is slower.
        catalogue: with `user_inputs`, encoded features of all candidate
            items, `[num_items, ...]`. The results of the layers that depend
            on an item alone are then stored in the file. It takes the input
            "item_row", `[n]` int32 rows of the catalogue, instead of the
            items' features. This is the fastest option.

    Returns:
        The bytes of a `.tflite` file. Its signature is `serving_default`;
        inputs are named by `input_key`.

    Raises:
        UserError: an argument is out of range, or would be ignored.

    Example:
    ```python
    model = to_litert(student.network, "int8", representative=train_features)
    Path("student.tflite").write_bytes(model)
    ```

    References:
        Jacob et al. 2018, "Quantization and Training of Neural Networks for
        Efficient Integer-Arithmetic-Only Inference", eq. 1.
    """
    _check_mode(mode, representative)
    _check_user(user_inputs, candidates, catalogue)
    kept = _kept_outputs(network, outputs)
    run, variables = _callable(network, kept, user_inputs, catalogue)
    specs = _specs(network, user_inputs, candidates, catalogue)
    function = concrete(run, specs)
    # The converter writes a SavedModel of the owner of the variables. With a
    # model as owner, it would contain a function for each layer.
    owner = tf.Module()
    owner.weights = variables
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [function], owner
    )
    if mode != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if mode == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if mode == "int8":
        converter.representative_dataset = _rows(
            specs, representative, user_inputs or (), catalogue
        )
    with warnings.catch_warnings():
        # The converter calls deprecated functions of TensorFlow.
        warnings.simplefilter("ignore", UserWarning)
        return converter.convert()


def _check_mode(mode: str, representative: object) -> None:
    if mode not in MODES:
        raise UserError(
            f"`mode` should be one of {', '.join(MODES)}. Received: `mode` = "
            f"{mode!r}."
        )
    if (mode == "int8") != (representative is not None):
        raise UserError(
            "`representative` is for the mode int8, which needs it. Received: "
            f"`mode` = {mode!r} and `representative` "
            f"{'missing' if representative is None else 'given'}. Give "
            "encoded rows of training with int8 alone."
        )


def _kept_outputs(
    network: tf.keras.Model, outputs: Sequence[str] | None
) -> list[str]:
    names = list(network.output)
    if outputs is None:
        return [n for n in names if n.startswith("logits_")] or names
    unknown = sorted(set(outputs) - set(names))
    if unknown or not outputs:
        raise UserError(
            "`outputs` should be some of the network's. Received: "
            f"{list(outputs)}; there are {names}."
        )
    return list(outputs)


def _callable(
    network: tf.keras.Model,
    kept: list[str],
    user_inputs: Collection[str] | None,
    catalogue: Mapping[str, np.ndarray] | None,
) -> tuple[Callable[[Outputs], Outputs], list[tf.Variable]]:
    """The function to convert, and the variables that it reads."""
    variables = list(network.variables)
    if user_inputs is None:

        def run(features: Outputs) -> Outputs:
            outputs = network(features, training=False)
            return {name: outputs[name] for name in kept}

        return run, variables
    once = OneUserNetwork(network, user_inputs, kept)
    if catalogue is None:
        return lambda features: once(features, features), variables
    stored = OneUserCatalogue(once, catalogue)
    variables += stored.tables
    return lambda features: stored(features, features[ITEM_ROW]), variables


def _specs(
    network: tf.keras.Model,
    user_inputs: Collection[str] | None,
    candidates: int | None,
    catalogue: Mapping[str, np.ndarray] | None,
) -> dict[str, tf.TensorSpec]:
    rows = dict.fromkeys(network.input, candidates)
    rows |= dict.fromkeys(user_inputs or (), 1)
    specs = {
        name: tf.TensorSpec([rows[name], *x.shape[1:]], x.dtype)
        for name, x in network.input.items()
        if catalogue is None or name in user_inputs
    }
    if catalogue is not None:
        specs[ITEM_ROW] = tf.TensorSpec([candidates], tf.int32)
    return specs


def _check_user(
    user_inputs: object, candidates: int | None, catalogue: object
) -> None:
    alone = user_inputs is None and (candidates, catalogue) != (None, None)
    if alone or (candidates is not None and candidates < 1):
        raise UserError(
            "`candidates` should be positive, and is for `user_inputs`, as "
            f"`catalogue` is. Received: `candidates` = {candidates} and "
            f"`user_inputs` = {user_inputs}. Name the inputs that all "
            "candidates share."
        )


def _rows(
    specs: Mapping[str, tf.TensorSpec],
    representative: Mapping[str, np.ndarray],
    user_inputs: Collection[str],
    catalogue: Mapping[str, np.ndarray] | None,
) -> Callable[[], Iterator[dict[str, np.ndarray]]]:
    missing = sorted(set(specs) - {ITEM_ROW} - set(representative))
    if missing:
        raise UserError(
            "`representative` should have every feature of the network. "
            f"Received: no {missing[0]!r} among {sorted(representative)}."
        )
    tables = {
        input_key(name): np.asarray(representative[name], x.dtype.name)
        for name, x in specs.items()
        if name != ITEM_ROW
    }
    count = min(_CALIBRATION_ROWS, *(len(x) for x in tables.values()))
    if not count:
        raise UserError(
            "`representative` should have rows. Received: 0. Give a few "
            "hundred of training."
        )

    users = {input_key(name) for name in user_inputs}
    candidates = max(spec.shape[0] or 1 for spec in specs.values())
    # Each user is combined with the items of `candidates` rows.
    steps = range(0, count, max(1, candidates // _CALIBRATION_USERS))
    total = len(next(iter(catalogue.values()))) if catalogue else 0

    def rows() -> Iterator[dict[str, np.ndarray]]:
        for i in steps:
            near = np.arange(i, i + candidates)
            row = {
                name: x[i : i + 1] if name in users else x[near % count]
                for name, x in tables.items()
            }
            if catalogue:
                row[ITEM_ROW] = np.int32(near * _STRIDE % total)
            yield row

    return rows


class LiteRtRunner:
    """A LiteRT model, run on the CPU.

    Args:
        model: the file's path or its bytes.
        threads: at least 1.

    Raises:
        UserError: `model` is not a LiteRT model, or `ai-edge-litert` is not
            installed.

    Example:
    ```python
    runner = LiteRtRunner("student.tflite")
    runner.predict(features.encode(table))["logits_liked"]  # [n]
    ```
    """

    def __init__(
        self, model: str | os.PathLike | bytes, threads: int = 1
    ) -> None:
        check_k(threads, "threads")
        if not isinstance(model, bytes):
            model = _read(Path(model))
        self.size_bytes = len(model)
        try:
            self._interpreter = _interpreter_class()(
                model_content=model, num_threads=threads
            )
            self._run = self._interpreter.get_signature_runner()
        except (ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:160]
            raise UserError(
                "`model` should be a LiteRT model with a signature. Received: "
                f"{len(model)} bytes that cannot be loaded ({reason}). Write "
                "it with to_litert."
            ) from error
        self._inputs = self._run.get_input_details()

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs, see `input_key`."""
        return tuple(sorted(self._inputs))

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs."""
        return tuple(sorted(self._run.get_output_details()))

    def predict(
        self, features: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Runs the model on a batch.

        Args:
            features: encoded features by name, `[n]` or `[n, length]`, with
                `n` of at least 1; features of the user are `[1, ...]`
                where the model scores one user. Further features are ignored.

        Returns:
            Outputs by name, `[n]` float32.

        Raises:
            UserError: a feature is missing.
        """
        given = {input_key(name): x for name, x in features.items()}
        missing = sorted(set(self._inputs) - set(given))
        if missing:
            raise UserError(
                "`features` should have every input of the model. Received: "
                f"no {missing[0]!r} among {sorted(given)}."
            )
        return self._run(
            **{
                name: np.asarray(given[name], detail["dtype"])
                for name, detail in self._inputs.items()
            }
        )


@dataclasses.dataclass(frozen=True)
class LiteRtParity:
    """Differences between a LiteRT model and its network.

    Args:
        max_difference: largest difference of two values, by output.
        spearman: rank correlation of the values, in [-1, 1], by output; NaN
            where all values are the same.
    """

    max_difference: dict[str, float]
    spearman: dict[str, float]


def compare_litert(
    runner: LiteRtRunner,
    network: Callable[[Any], Mapping[str, tf.Tensor]],
    features: Mapping[str, np.ndarray],
) -> LiteRtParity:
    """Compares a LiteRT model with its network.

    Args:
        runner: the model.
        network: a function from the same features to a dict of outputs.
        features: encoded features by name, `[n, ...]`.

    Returns:
        The differences for each of the runner's outputs.

    Example:
    ```python
    parity = compare_litert(LiteRtRunner(model), student.network, rows)
    parity.spearman["logits_liked"]
    ```
    """
    expected, own = network(dict(features)), runner.predict(features)
    pairs = {name: (np.asarray(expected[name]), own[name]) for name in own}
    return LiteRtParity(
        {name: float(np.abs(a - b).max()) for name, (a, b) in pairs.items()},
        {
            name: float(stats.spearmanr(a.ravel(), b.ravel()).statistic)
            for name, (a, b) in pairs.items()
        },
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(
            f"`model` should be a LiteRT file. Received: {path} "
            f"({error.strerror}). Check the path."
        ) from error


def _interpreter_class() -> type:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise UserError(
            "LiteRT models should be run by ai-edge-litert. Received: none "
            "installed. Run `pip install kd_tfrs[edge]`."
        ) from error
    return Interpreter
