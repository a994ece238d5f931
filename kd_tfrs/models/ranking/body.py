"""The part of a network before its heads, and functions to join fields."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol

import tensorflow as tf

from kd_tfrs.models.ranking.config import RankerConfig
from kd_tfrs.models.ranking.fields import Fields


@dataclasses.dataclass(frozen=True)
class Body:
    """A network without its heads.

    Args:
        embeddings: `[batch, fields, dim]`.
        deep: `[batch, width]`, the input of the deep part.
        beside: `[batch, width]`, an input of the heads in addition to the last
            layer of the deep part, or `None`.
        interaction: `[batch, width]`, the output of the layer of feature
            interactions, or `None`.
        additive: `[batch, tasks]` tensors that are added to the logits.
    """

    embeddings: tf.Tensor
    deep: tf.Tensor
    beside: tf.Tensor | None = None
    interaction: tf.Tensor | None = None
    additive: tuple[tf.Tensor, ...] = ()


class Architecture(Protocol):
    """Builds the part of a network before its heads."""

    def __call__(
        self, fields: Fields, config: RankerConfig, num_tasks: int
    ) -> Body:
        """Builds it."""


def field_vectors(fields: Fields) -> list[tf.Tensor]:
    """Lists all fields, with the mean of the history last.

    Args:
        fields: see `embed_fields`.

    Returns:
        `[batch, dim]` tensors.
    """
    vectors = list(fields.vectors.values())
    mean = fields.history_mean()
    return vectors if mean is None else [*vectors, mean]


def stack(
    vectors: Sequence[tf.Tensor], l2: float
) -> tuple[tf.Tensor, tf.Tensor]:
    r"""Concatenates and stacks fields, with their penalty.

    $$R = \frac{\lambda}{b} \sum_i \sum_f \lVert e_{if} \rVert^2$$

    over the $b$ rows of a batch: embeddings outside the batch are not decayed,
    and the gradients of the tables stay sparse.

    Args:
        vectors: `[batch, dim]` each.
        l2: $\lambda$, at least 0.

    Returns:
        `[batch, fields * dim]` and `[batch, fields, dim]`.

    References:
        Koren, Bell and Volinsky 2009, "Matrix Factorization Techniques for
        Recommender Systems", eq. 2 (a penalty for each observed rating).
    """
    flat = joined(vectors, "fields")
    if l2:
        # A sum of squares overflows float16.
        flat = tf.keras.layers.ActivityRegularization(
            l2=l2, dtype="float32", name="penalty"
        )(flat)
    shape = (len(vectors), vectors[0].shape[-1])
    return flat, tf.keras.layers.Reshape(shape, name="embeddings")(flat)


def joined(tensors: Sequence[tf.Tensor], name: str) -> tf.Tensor:
    """Concatenates along the last axis; a single tensor is returned.

    Args:
        tensors: `[batch, width]` each.
        name: name of the layer.

    Returns:
        `[batch, sum of widths]`.
    """
    if len(tensors) == 1:
        return tensors[0]
    return tf.keras.layers.Concatenate(name=name)(list(tensors))
