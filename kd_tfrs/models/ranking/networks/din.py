"""DIN: a user's history, weighted by what it has to do with the item."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from kd_tfrs.config_mixin import ConfigMixin
from kd_tfrs.models.ranking.activations import hidden_layer
from kd_tfrs.models.ranking.body import Body, stack
from kd_tfrs.models.ranking.config import RankerConfig
from kd_tfrs.models.ranking.fields import Fields

_UNITS = (36,)


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class TargetPairs(tf.keras.layers.Layer):
    r"""What the activation unit sees of each event of a history.

    $$y_j = [e_j, v, e_j - v, e_j \odot v]$$

    Call it with `[history, target]`, `[batch, length, dim]` and
    `[batch, dim]`; it returns `[batch, length, 4 * dim]`.

    Example:
    >>> pairs = TargetPairs()([tf.ones([1, 2, 1]), tf.constant([[3.0]])])
    >>> pairs[0, 0].numpy().tolist()
    [1.0, 3.0, -2.0, 3.0]

    References:
        Zhou et al. 2018, "Deep Interest Network for Click-Through Rate
        Prediction", section 4.3; the paper names the two embeddings and
        their product, the authors' code adds the difference.
    """

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        """See the class."""
        history, target = inputs
        # Zeros added rather than a tile by the dynamic shape.
        target = tf.zeros_like(history) + target[:, None, :]
        return tf.concat(
            [history, target, history - target, history * target], axis=-1
        )


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class WeightedHistory(ConfigMixin, tf.keras.layers.Layer):
    r"""The sum of a history by weights, padding left out.

    $$y = \sum_{j: x_j \ne 0} a_j e_j, \qquad
    a = s \;\text{or}\; \text{softmax}(s)$$

    Call it with `[scores, history, ids]`, `[batch, length, 1]`,
    `[batch, length, dim]` and `[batch, length]`; it returns `[batch, dim]`,
    zeros for an empty history.

    Args:
        softmax: weights sum to 1; the paper leaves this out, so that the
            length of $y$ tells how strong the interest is.
        **kwargs: see `tf.keras.layers.Layer`.

    Example:
    >>> scores, ids = tf.constant([[[2.0], [9.0]]]), tf.constant([[7, 0]])
    >>> WeightedHistory()([scores, tf.ones([1, 2, 3]), ids]).numpy()
    array([[2., 2., 2.]], dtype=float32)

    References:
        Zhou et al. 2018, "Deep Interest Network for Click-Through Rate
        Prediction", eq. 3.
    """

    def __init__(self, softmax: bool = False, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.softmax = softmax

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        """See the class."""
        scores, history, ids = inputs
        there = (ids != 0)[..., None]
        if self.softmax:
            # The lowest finite number: a row of -inf alone has no softmax.
            scores = tf.where(there, scores, scores.dtype.min)
            scores = tf.nn.softmax(scores, axis=1)
        # Chosen, not multiplied by zero, which would keep an infinity.
        weights = tf.where(there, scores, tf.zeros_like(scores))
        return tf.reduce_sum(weights * history, axis=1)


def din(fields: Fields, config: RankerConfig, num_tasks: int) -> Body:
    r"""A perceptron over fields and attended history; see `Architecture`.

    $$v_U(A) = \sum_j a(e_j, v_A) e_j, \qquad a(e_j, v_A) =
    w^\top f(W [e_j, v_A, e_j - v_A, e_j \odot v_A] + c) + b$$

    with the embedding $v_A$ of the item's id and $e_j$ from the same table;
    `attention_units` are the widths of $a$, `activation` is its $f$ (PReLU or
    Dice in the paper).

    Raises:
        UserError: there is no history.

    References:
        Zhou et al. 2018, "Deep Interest Network for Click-Through Rate
        Prediction", section 4.3 and eq. 3.
    """
    config.check_history(fields.history is not None)
    attended = _attend(fields, config)
    flat, embeddings = stack([*fields.vectors.values(), attended], config.l2)
    return Body(embeddings, flat, interaction=attended)


def _attend(fields: Fields, config: RankerConfig) -> tf.Tensor:
    x = TargetPairs(name="pairs")([fields.history, fields.item])
    for i, units in enumerate(config.attention_units or _UNITS):
        x = hidden_layer(
            x,
            units,
            config.activation,
            f"attention_{i}",
            ids=fields.history_ids,
        )
    scores = tf.keras.layers.Dense(1, name="attention")(x)
    return WeightedHistory(bool(config.attention_softmax), name="interaction")(
        [scores, fields.history, fields.history_ids]
    )
