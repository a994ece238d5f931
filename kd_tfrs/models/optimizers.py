"""Optimizers that update only the embedding rows of a batch."""

from __future__ import annotations

import tensorflow as tf

from kd_tfrs.errors import UserError


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class LazyAdam(tf.keras.optimizers.legacy.Adam):
    r"""Adam that updates only the embedding rows that a step looks up.

    For the rows $i$ of a sparse gradient $g$

    $$m_i = \beta_1 m_i + (1 - \beta_1) g_i, \quad
    v_i = \beta_2 v_i + (1 - \beta_2) g_i^2, \quad
    w_i = w_i - \alpha_t \, m_i / (\sqrt{v_i} + \epsilon)$$

    and all other rows are unchanged, while Adam decays every moment of the
    table and updates every row at every step. Dense variables are updated as
    by Adam.

    Args:
        learning_rate: step size, or a schedule of it.
        beta_1: decay of the first moment, in [0, 1).
        beta_2: decay of the second moment, in [0, 1).
        epsilon: keeps the quotient finite.
        name: name of the optimizer.
        **kwargs: `clipnorm`, `clipvalue`, `decay`, as in Keras.

    Raises:
        UserError: when `amsgrad` is True.

    Example:
    ```python
    model.compile(optimizer=kd_tfrs.models.LazyAdam(0.003))
    ```

    References:
        Kingma and Ba 2015, "Adam: A Method for Stochastic Optimization",
        algorithm 1, applied row by row.
    """

    def __init__(
        self,
        learning_rate: float
        | tf.keras.optimizers.schedules.LearningRateSchedule = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        name: str = "LazyAdam",
        **kwargs: float,
    ) -> None:
        if kwargs.pop("amsgrad", False):
            raise UserError(
                "`amsgrad` should be False: its maximum spans every row. "
                "Received: `amsgrad` = True. Use tf.keras's Adam for it."
            )
        super().__init__(
            learning_rate, beta_1, beta_2, epsilon, name=name, **kwargs
        )

    def _resource_apply_sparse(
        self,
        grad: tf.Tensor,
        var: tf.Variable,
        indices: tf.Tensor,
        apply_state: dict | None = None,
    ) -> tf.Operation:
        key = (var.device, var.dtype.base_dtype)
        c = (apply_state or {}).get(key) or self._fallback_apply_state(*key)
        m, v = self.get_slot(var, "m"), self.get_slot(var, "v")
        m_rows = (
            tf.gather(m, indices) * c["beta_1_t"]
            + grad * c["one_minus_beta_1_t"]
        )
        v_rows = (
            tf.gather(v, indices) * c["beta_2_t"]
            + tf.square(grad) * c["one_minus_beta_2_t"]
        )
        step = c["lr"] * m_rows / (tf.sqrt(v_rows) + c["epsilon"])
        return tf.group(
            self._resource_scatter_update(m, indices, m_rows),
            self._resource_scatter_update(v, indices, v_rows),
            self._resource_scatter_add(var, indices, -step),
        )

    # The methods of Keras return the variable's value, which copies the table.

    def _resource_scatter_update(
        self, resource: tf.Variable, indices: tf.Tensor, update: tf.Tensor
    ) -> tf.Operation:
        return tf.raw_ops.ResourceScatterUpdate(
            resource=resource.handle, indices=indices, updates=update
        )

    def _resource_scatter_add(
        self, resource: tf.Variable, indices: tf.Tensor, update: tf.Tensor
    ) -> tf.Operation:
        return tf.raw_ops.ResourceScatterAdd(
            resource=resource.handle, indices=indices, updates=update
        )
