"""A LiteRT model on the CPU, and its comparison with the network."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from scipy import stats

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.checks import check_k
from kd_tfrs.export.signature_functions import input_key


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
