"""`compile`, `fit` and `save` of the distillers, as in Keras."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from kd_tfrs.distillation.callbacks import FiniteLoss, check_callbacks
from kd_tfrs.distillation.keras_arguments import refuse_renamed, scaled_for
from kd_tfrs.distillation.trial import compiler_errors, first_batch
from kd_tfrs.errors import UserError


class CheckedModel(tf.keras.Model):
    """Base of the models that train a student.

    Arguments that would have no effect are refused, and teacher and student
    run on the first batch of data that are new to them, see `check`.

    Attributes:
        student: the trained model.

    Args:
        name: name of the model.
    """

    student: tf.keras.Model

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self._has_metrics = False
        # Types and shapes of the data that were checked, as text: Keras would
        # track a dict.
        self._checked_spec = ""

    def compile(
        self, optimizer: Any = "rmsprop", loss: Any = None, **options: Any
    ) -> None:
        """Sets the optimizer of the student, see `tf.keras.Model.compile`.

        Args:
            optimizer: a legacy Keras optimizer.
            loss: refused: losses are arguments of the constructor.
            **options: see `tf.keras.Model.compile`. `metrics` and
                `weighted_metrics` compare the student with the labels, see
                `metric_inputs`.

        Raises:
            UserError: an argument has no effect here.
        """
        options["loss"] = loss
        refuse_renamed(options)
        given = (options.get("metrics"), options.get("weighted_metrics"))
        self._has_metrics = any(given)
        super().compile(
            optimizer=scaled_for(self.student, optimizer), **options
        )

    def fit(
        self,
        x: Any = None,
        *,
        callbacks: Sequence[tf.keras.callbacks.Callback] | None = None,
        **options: Any,
    ) -> tf.keras.callbacks.History:
        """Trains the student, see `tf.keras.Model.fit`.

        Before that, teacher and student run on the first batch, so that what
        does not fit ends in one line; once for data of the same types and
        shapes.

        Args:
            x: a `tf.data.Dataset` of batches.
            callbacks: see `tf.keras.Model.fit`.
            **options: see `tf.keras.Model.fit`.

        Returns:
            The history.

        Raises:
            UserError: data, teacher and student do not fit, or the loss is
                not finite at the end of an epoch.
        """
        if not self._is_compiled:
            raise UserError(
                "A distiller should be compiled before `fit`. Received: no "
                "optimizer. Write distiller.compile(optimizer=LazyAdam(0.01))."
            )
        if not isinstance(callbacks, tf.keras.callbacks.CallbackList):
            callbacks = [FiniteLoss(), *tf.nest.flatten(callbacks or [])]
            check_callbacks(callbacks)
        self._check_data(x)
        with compiler_errors(bool(self._jit_compile)):
            return super().fit(x, callbacks=callbacks, **options)

    def evaluate(self, x: Any = None, *args: Any, **options: Any) -> Any:
        """Computes the losses and metrics, see `tf.keras.Model.evaluate`.

        Args:
            x: a `tf.data.Dataset` of batches, checked as by `fit`.
            *args: of Keras.
            **options: of Keras.

        Returns:
            What Keras returns.

        Raises:
            UserError: data, teacher and student do not fit.
        """
        self._check_data(x)
        return super().evaluate(x, *args, **options)

    @abc.abstractmethod
    def check(self, batch: Any) -> None:
        """Runs teacher and student on a batch.

        Args:
            batch: of training.

        Raises:
            UserError: they do not take it, or the teacher's outputs are not
                finite.
        """

    def _check_data(self, x: Any) -> None:
        is_dataset = isinstance(x, tf.data.Dataset)
        spec = str(x.element_spec) if is_dataset else ""
        if is_dataset and spec == self._checked_spec:
            return
        batch = first_batch(x)
        # A replica sees a part of a batch: the whole is not run on one.
        if batch is None or self.distribute_strategy.num_replicas_in_sync > 1:
            return
        self.check(batch)
        self._checked_spec = spec

    def save(self, *args: Any, **options: Any) -> None:
        """Refused: a teacher may be any function, which no file holds.

        Raises:
            UserError: always.
        """
        raise UserError(
            "A distiller should be saved by its weights, as its teacher may "
            f"be any function. Received: save{args!r}. Write "
            "distiller.save_weights(path), or distiller.student.save(path) "
            "for the student."
        )

    def get_config(self) -> dict:
        """Refused, see `save`.

        Raises:
            UserError: always.
        """
        raise UserError(
            "A distiller should be made by its constructor, as its teacher "
            "may be any function. Received: get_config(). Take that of "
            "distiller.student, and save weights."
        )
