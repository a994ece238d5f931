"""Teachers of rankers: outputs for every row of a batch."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from kd_tfrs.errors import UserError

RankingBatch = Mapping[str, Any]
Outputs = dict[str, tf.Tensor]
LOGITS = "logits_"


class RankingTeacher(abc.ABC):
    """Base of the teachers with outputs for every row of a ranking batch.

    A teacher is never trained and no gradient reaches it.

    Attributes:
        checkpointed: layers of the teacher that a checkpoint has to hold.
        teachers: members of an ensemble.
    """

    checkpointed: tuple[tf.keras.layers.Layer, ...] = ()
    teachers: tuple[RankingTeacher, ...] = ()

    def __repr__(self) -> str:
        outputs = ", ".join(sorted(self.widths)) or "unknown outputs"
        return f"{type(self).__name__}({outputs})"

    @abc.abstractmethod
    def outputs(self, batch: RankingBatch) -> Outputs:
        """The outputs for a batch.

        Args:
            batch: see `RankingBatches`.

        Returns:
            `logits_<task>` `[batch]` by name, and other `[batch, ...]`
            outputs; float32, without gradient. NaN where the teacher
            has no output for a row, which then does not count.
        """

    @property
    @abc.abstractmethod
    def widths(self) -> Mapping[str, int]:
        """Width of every output by name; empty if the widths are unknown."""

    def width(self, output: str) -> int:
        """Width of an output.

        Args:
            output: its name, such as "hidden_0".

        Returns:
            A width; an output of more than two axes is flattened.

        Raises:
            UserError: there is no such output, or its width is unknown.
        """
        if output not in self.widths:
            raise UserError(
                f"`{type(self).__name__}` should have the output {output!r}. "
                f"Received: {sorted(self.widths) or 'unknown outputs'}. "
                "Take one that it has, or keep more in its cache."
            )
        return self.widths[output]


class NetworkTeacher(RankingTeacher):
    """A ranker that runs at every step.

    Its inputs are all of its features in the batch, including those that the
    schema marks `training_only` and that the student lacks (privileged
    features). It runs without dropout.

    Args:
        model: a `RankingModel`, or a Keras model from a dict of features to a
            dict of outputs, or any such function.
        widths: widths of the outputs of a function, needed for losses between
            features.

    Raises:
        UserError: a function's widths are needed, or a Keras model's given.

    Example:
    ```python
    teacher = NetworkTeacher(trained)  # a RankingModel with more features
    ```

    References:
        Xu et al. 2020, "Privileged Features Distillation at Taobao
        Recommendations", for a teacher with more features.
    """

    def __init__(
        self,
        model: tf.keras.Model | Callable,
        widths: Mapping[str, int] | None = None,
    ) -> None:
        self.network = getattr(model, "network", model)
        self._is_keras = isinstance(self.network, tf.keras.Model)
        if not callable(self.network) or (self._is_keras and widths):
            raise UserError(
                "`model` should be a RankingModel, a Keras model (which knows "
                "its `widths`) or a function. Received: "
                f"{type(model).__name__} and `widths` = {widths}."
            )
        self._widths = (
            output_widths(self.network) if self._is_keras else widths or {}
        )

    @property
    def widths(self) -> Mapping[str, int]:
        """See `RankingTeacher`."""
        return self._widths

    def outputs(self, batch: RankingBatch) -> Outputs:
        """See `RankingTeacher.outputs`."""
        features = batch["features"]
        if not self._is_keras:
            return without_gradients(self.network(features))
        missing = sorted(set(self.network.input) - set(features))
        if missing:
            raise UserError(
                "A batch should have every feature of the teacher. Received: "
                f"no {missing} among {sorted(features)}. Encode the features "
                "of teacher and student together."
            )
        inputs = {name: features[name] for name in self.network.input}
        return without_gradients(self.network(inputs, training=False))


def without_gradients(outputs: Mapping[str, tf.Tensor]) -> Outputs:
    """Outputs as float32, without gradient."""
    return {
        name: tf.stop_gradient(tf.cast(x, tf.float32))
        for name, x in outputs.items()
    }


def output_widths(network: tf.keras.Model) -> dict[str, int]:
    """Widths of the outputs of a Functional network.

    Args:
        network: a model with a dict of outputs.

    Returns:
        Widths by name; 1 for `[batch]`.

    Raises:
        UserError: the network has no dict of outputs.
    """
    outputs = getattr(network, "output", None)
    if not isinstance(outputs, Mapping):
        raise UserError(
            "A ranker should be a Functional Keras model with a dict of "
            f"outputs. Received: {type(network).__name__}. See build_ranker."
        )
    return {
        name: tf.TensorShape(x.shape[1:]).num_elements()
        for name, x in outputs.items()
    }
