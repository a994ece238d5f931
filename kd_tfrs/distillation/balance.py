"""Loss weights that follow the sizes of the gradients."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from kd_tfrs.errors import UserError


class GradientNormBalance(tf.Module):
    r"""Keeps every loss's gradient in proportion to the hard-label loss's.

    $$f_i = \overline{\lVert g_\text{student} \rVert} \, / \,
    \overline{\lVert g_i \rVert}$$

    multiplies the weight $w_i$ of distillation loss $i$, where $g$ are
    gradients with respect to the student's embeddings, or to the weights of a
    ranker, and the bar is a moving average. With a weight of 1 the gradient
    of a loss has the norm of the hard-label gradient, whatever the scale of
    the loss. The measurement costs one more backward pass through the losses,
    but not through the towers of a retrieval model.

    Args:
        momentum: of the moving averages, a step, in [0, 1).
        every: steps from one measurement to the next; the norms change
            slowly.

    Raises:
        UserError: a number is out of range.

    Example:
    ```python
    Distiller(teacher, student, losses, 1.0, balance=GradientNormBalance())
    ```

    References:
        Chen et al. 2018, "GradNorm: Gradient Normalization for Adaptive Loss
        Balancing in Deep Multitask Networks", section 3, with equal training
        rates (alpha = 0) and norms set directly instead of by descent.
    """

    def __init__(self, momentum: float = 0.99, every: int = 8) -> None:
        super().__init__(name="gradient_norm_balance")
        if not 0.0 <= momentum < 1.0:
            raise UserError(
                "`momentum` should lie in [0, 1). Received: `momentum` = "
                f"{momentum}."
            )
        if every < 1:
            raise UserError(
                "`every` should be a positive number of steps. Received: "
                f"`every` = {every}."
            )
        self.momentum = momentum
        self.every = every
        self._norms: tf.Variable | None = None
        self._step = tf.Variable(0, trainable=False, dtype=tf.int64)

    def build(self, num_losses: int) -> None:
        """Creates the averages, once.

        Args:
            num_losses: distillation losses beside the student's own.
        """
        if self._norms is None:
            self._norms = tf.Variable(
                tf.zeros([1 + num_losses]), trainable=False, name="norms"
            )

    def __call__(
        self,
        tape: tf.GradientTape,
        sources: Sequence[tf.Tensor | tf.Variable],
        parts: Sequence[tf.Tensor],
    ) -> list[tf.Tensor]:
        """Factors of the distillation losses at this step.

        Args:
            tape: persistent; has recorded the parts.
            sources: what gradients are taken of, see
                `BaseDistiller.balance_sources`.
            parts: the student's own loss first.

        Returns:
            A scalar for each part but the first.
        """

        def measure() -> tf.Tensor:
            norms = tf.stack(
                [
                    tf.linalg.global_norm(
                        _present(tape.gradient(part, sources))
                    )
                    for part in parts
                ]
            )
            kept = self.momentum**self.every
            return kept * self._norms + (1.0 - kept) * norms

        due = self._step % self.every == 0
        self._norms.assign(tf.cond(due, measure, self._norms.read_value))
        self._step.assign_add(1)
        # The same bias in all of them; it leaves with the quotient.
        factors = tf.math.divide_no_nan(self._norms[0], self._norms[1:])
        return tf.unstack(factors)


def _present(gradients: Sequence[tf.Tensor | None]) -> list[tf.Tensor]:
    """A loss may leave one side alone."""
    # Lists gather a row many times: the norm is that of the sum over them,
    # which IndexedSlices have not taken yet.
    found = [tf.convert_to_tensor(g) for g in gradients if g is not None]
    return found or [tf.zeros([1])]
