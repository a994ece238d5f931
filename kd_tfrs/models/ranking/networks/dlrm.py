"""DLRM: dot products of all pairs of fields, by TFRS's own layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from kd_tfrs.config_mixin import ConfigMixin
from kd_tfrs.errors import UserError
from kd_tfrs.models.ranking.activations import hidden_layers
from kd_tfrs.models.ranking.body import Body, joined, stack
from kd_tfrs.models.ranking.config import RankerConfig
from kd_tfrs.models.ranking.fields import Fields


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class FieldDots(ConfigMixin, tfrs.layers.feature_interaction.DotInteraction):
    r"""TFRS's dot interaction, with a fixed choice of its pairs.

    $$y = (\langle e_2, e_1 \rangle, \langle e_3, e_1 \rangle,
    \langle e_3, e_2 \rangle, \ldots)$$

    the lower triangle row by row, as in TFRS, but gathered by constant indices
    instead of a boolean mask. Its shape is static, and the layer can be saved.

    Call it with `[batch, dim]` tensors; it returns `[batch, pairs]`.

    Args:
        self_interaction: whether to include the squared norms of fields.
        **kwargs: see `tf.keras.layers.Layer`.

    Example:
    >>> a, b = tf.constant([[1.0, 2.0]]), tf.constant([[3.0, 4.0]])
    >>> FieldDots()([a, b]).numpy()
    array([[11.]], dtype=float32)
    """

    def __init__(
        self, self_interaction: bool = False, **kwargs: object
    ) -> None:
        super().__init__(
            self_interaction=self_interaction, skip_gather=True, **kwargs
        )
        self.self_interaction = self_interaction

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        """See the class."""
        square = super().call(inputs)
        row, column = np.tril_indices(
            len(inputs), 0 if self.self_interaction else -1
        )
        return tf.gather(square, row * len(inputs) + column, axis=1)


def dlrm(fields: Fields, config: RankerConfig, num_tasks: int) -> Body:
    r"""A perceptron over dot products and the numbers; see `Architecture`.

    $$e_0 = \text{MLP}_\text{bottom}(x_\text{numbers}), \qquad
    z = \text{MLP}_\text{top}([e_0, (\langle e_i, e_j \rangle)_{j < i}])$$

    All numbers together are one field. Without numbers, which the paper always
    has, the embeddings of the categories replace $e_0$, since dot products
    have no information on a single field.

    Raises:
        UserError: when there is only one field.

    References:
        Naumov et al. 2019, "Deep Learning Recommendation Model for
        Personalization and Recommendation Systems", section 2.
    """
    numbers = [f.name for f in fields.features if not f.vocabulary_size]
    vectors = [v for name, v in fields.vectors.items() if name not in numbers]
    mean = fields.history_mean()
    vectors += [] if mean is None else [mean]
    if numbers:
        dense = _bottom([fields.columns[name] for name in numbers], config)
        vectors = [dense, *vectors]
    if len(vectors) < 2:
        raise UserError(
            "`dlrm` should have two fields or more, where all numbers are one "
            f"field. Received: {list(fields.vectors)}."
        )
    flat, embeddings = stack(vectors, config.l2)
    dots = FieldDots(name="interaction")(vectors)
    top = joined([vectors[0] if numbers else flat, dots], "top")
    return Body(embeddings, top, interaction=dots)


def _bottom(columns: list[tf.Tensor], config: RankerConfig) -> tf.Tensor:
    units = config.bottom_units
    if units is None:
        units = (2 * config.embedding_dim,)
    x, _ = hidden_layers(
        joined(columns, "numbers"),
        (*units, config.embedding_dim),
        config.activation,
        prefix="bottom_",
    )
    return x
