"""DeepFM: a factorisation machine and a perceptron on the same embeddings."""

from __future__ import annotations

import tensorflow as tf

from kd_tfrs.models.ranking.body import Body, field_vectors, stack
from kd_tfrs.models.ranking.config import RankerConfig
from kd_tfrs.models.ranking.fields import Fields
from kd_tfrs.models.ranking.linear import linear_terms


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class PairwiseProducts(tf.keras.layers.Layer):
    r"""The sum of the elementwise products of all pairs of fields.

    $$y = \sum_{i < j} e_i \odot e_j
    = \sum_j e_j \odot \sum_{i < j} e_i$$

    The sum over the dimensions of $y$ is the second-order term of a
    factorisation machine, $\sum_{i < j} \langle e_i, e_j \rangle$. Running sums
    need the same number of operations as (square of the sum - sum of squares)
    / 2, without a difference of large numbers.

    Call it with `[batch, fields, dim]`; it returns `[batch, dim]`.

    Example:
    >>> fields = tf.constant([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]])
    >>> PairwiseProducts()(fields).numpy()
    array([[23., 44.]], dtype=float32)

    References:
        Rendle 2010, "Factorization Machines", eq. 1 and lemma 3.1.
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """See the class."""
        before = tf.cumsum(inputs, axis=1, exclusive=True)
        return tf.reduce_sum(inputs * before, axis=1)


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class RowSum(tf.keras.layers.Layer):
    """The sum of a row: `[batch, width]` to `[batch, 1]`.

    Example:
    >>> RowSum()(tf.constant([[1.0, 2.0]])).numpy()
    array([[3.]], dtype=float32)
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """See the class."""
        return tf.reduce_sum(inputs, axis=-1, keepdims=True)


def deepfm(fields: Fields, config: RankerConfig, num_tasks: int) -> Body:
    r"""A factorisation machine and a perceptron, added; see `Architecture`.

    $$z = b + \langle w, x \rangle + \sum_{i < j} \langle e_i, e_j \rangle
    + w_\text{deep}^\top a_L$$

    with $e_i = V_{x_i}$ shared by both. With several tasks, each task has its
    own weights of the dimensions of $\sum_{i < j} e_i \odot e_j$, initially
    ones; the plain sum would be the same for all tasks.

    References:
        Guo et al. 2017, "DeepFM: A Factorization-Machine based Neural Network
        for CTR Prediction", eq. 1 and 2.
    """
    flat, embeddings = stack(field_vectors(fields), config.l2)
    pairs = PairwiseProducts(name="interaction")(embeddings)
    if num_tasks == 1:
        second = RowSum(name="second_order")(pairs)
    else:
        second = tf.keras.layers.Dense(
            num_tasks,
            use_bias=False,
            kernel_initializer="ones",
            name="second_order",
        )(pairs)
    return Body(
        embeddings,
        flat,
        interaction=pairs,
        additive=(*linear_terms(fields, num_tasks), second),
    )
