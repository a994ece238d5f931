"""Evaluates layers on tensors of one user and many candidates."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

import tensorflow as tf


@dataclasses.dataclass(eq=False)
class Part:
    """A tensor of the user, of the items, or of both.

    Args:
        tensor: `[1, ...]` if it depends on the user only, otherwise
            `[n, ...]`.
        is_user: whether it depends on the user only.
        met: for a tensor of the items only, maps it to the tensor that is
            combined with the user, such as gathered rows; `None` for tensors
            that already depend on both.
    """

    tensor: tf.Tensor
    is_user: bool
    met: Callable[[tf.Tensor], tf.Tensor] | None = None
    _rows: tf.Tensor | None = None

    @property
    def is_items(self) -> bool:
        """Whether it depends on the items only."""
        return self.met is not None

    def meet(self) -> tf.Tensor:
        """The tensor to combine with the user."""
        if self._rows is None:
            self._rows = self.met(self.tensor) if self.met else self.tensor
        return self._rows

    def like(self, tensor: tf.Tensor) -> Part:
        """A part with another tensor and the same dependencies."""
        return Part(tensor, self.is_user, self.met)


@dataclasses.dataclass(eq=False)
class Value:
    """The output of a layer: parts that are concatenated along an axis.

    Args:
        parts: one or more.
        axis: positive; ignored for one part.
    """

    parts: list[Part]
    axis: int = 0

    @classmethod
    def of_user(cls, tensor: tf.Tensor) -> Value:
        """A `[1, ...]` tensor that all candidates share."""
        return cls([Part(tensor, True)])

    @classmethod
    def of_items(
        cls, tensor: tf.Tensor, met: Callable[[tf.Tensor], tf.Tensor]
    ) -> Value:
        """A `[n, ...]` tensor that depends on the candidates only."""
        return cls([Part(tensor, False, met)])

    def only(self, kind: str) -> bool:
        """Whether all parts are `is_user`, or `is_items`."""
        return all(getattr(part, kind) for part in self.parts)

    def plain(self) -> tf.Tensor:
        """Concatenates parts of one kind."""
        return self._joined([part.tensor for part in self.parts])

    def rows(self, count: tf.Tensor) -> tf.Tensor:
        """Concatenates all parts to `[n, ...]`, repeating the user's row."""
        self.meet_at_once()
        return self._joined(
            [
                tf.repeat(p.tensor, count, axis=0) if p.is_user else p.meet()
                for p in self.parts
            ]
        )

    def _joined(self, tensors: list[tf.Tensor]) -> tf.Tensor:
        return (
            tensors[0] if len(tensors) == 1 else tf.concat(tensors, self.axis)
        )

    def meet_at_once(self) -> None:
        """Maps all item parts by one call of `met`, as one table."""
        items = [p for p in self.parts if p.is_items and p._rows is None]
        if len(items) < 2:
            return
        sizes = [p.tensor.shape[self.axis] for p in items]
        wide = items[0].met(tf.concat([p.tensor for p in items], self.axis))
        for part, rows in zip(
            items, tf.split(wide, sizes, self.axis), strict=True
        ):
            part._rows = rows


@functools.singledispatch
def apply(layer: tf.keras.layers.Layer, *args: Value | list[Value]) -> Value:
    """Evaluates a layer in inference mode.

    Args:
        layer: a layer of a built network.
        *args: inputs of the layer.

    Returns:
        The output, with one row for parts that depend on the user only.
    """
    return _any_layer(layer, *args)


def _any_layer(
    layer: tf.keras.layers.Layer, *args: Value | list[Value]
) -> Value:
    """Evaluates without a rule: repeats the user's row for mixed inputs."""
    values: list[Value] = tf.nest.flatten(list(args))
    for kind in ("is_user", "is_items"):
        if all(value.only(kind) for value in values):
            plain = tf.nest.map_structure(Value.plain, list(args))
            return Value([values[0].parts[0].like(layer(*plain))])
    count = _count(values)
    rows = tf.nest.map_structure(lambda v: v.rows(count), list(args))
    return Value([Part(layer(*rows), False)])


def _count(values: Sequence[Value]) -> tf.Tensor:
    """Number of candidates."""
    value = next(v for v in values if not v.only("is_user"))
    value.meet_at_once()
    part = next(p for p in value.parts if not p.is_user)
    return tf.shape(part.meet())[0]


@apply.register(tf.keras.layers.Dropout)
@apply.register(tf.keras.layers.ActivityRegularization)
def _(layer: tf.keras.layers.Layer, value: Value) -> Value:
    return value


@apply.register
def _(layer: tf.keras.layers.Concatenate, values: list[Value]) -> Value:
    rank = len(values[0].parts[0].tensor.shape)
    axis, parts = layer.axis % rank, []
    for value in values:
        if len(value.parts) > 1 and value.axis != axis:
            return _any_layer(layer, values)
        parts += value.parts
    return Value(parts, axis)


@apply.register
def _(layer: tf.keras.layers.Embedding, ids: Value) -> Value:
    parts = [p.like(tf.gather(layer.embeddings, p.tensor)) for p in ids.parts]
    return Value(parts, ids.axis)


@apply.register
def _(layer: tf.keras.layers.Cropping1D, value: Value) -> Value:
    first, last = layer.cropping
    parts = list(value.parts)
    # Whole parts are dropped, such as the history next to its item.
    if value.axis == 1 and len(parts) > 1:
        while first and parts and parts[0].tensor.shape[1] <= first:
            first -= parts.pop(0).tensor.shape[1]
        while last and parts and parts[-1].tensor.shape[1] <= last:
            last -= parts.pop().tensor.shape[1]
        if not first and not last:
            return Value(parts, 1)
    return _any_layer(layer, value)


@apply.register
def _(layer: tf.keras.layers.Add, values: list[Value]) -> Value:
    """Adds the user's row by broadcasting instead of repeating it."""
    users = [v for v in values if v.only("is_user")]
    items = [v for v in values if v.only("is_items")]
    mixed = [v for v in values if v not in users and v not in items]
    sums = [_sum(layer, same) for same in (users, items) if same]
    if not mixed and len(sums) == 1:
        return Value(sums)
    count = _count(items + mixed)
    terms = [p.meet() for p in sums] + [v.rows(count) for v in mixed]
    return Value([Part(functools.reduce(tf.add, terms), False)])


def _sum(layer: tf.keras.layers.Layer, values: list[Value]) -> Part:
    plain = [value.plain() for value in values]
    total = plain[0] if len(plain) == 1 else layer(plain)
    return values[0].parts[0].like(total)


@apply.register
def _(layer: tf.keras.layers.Dense, value: Value) -> Value:
    """Splits the kernel between concatenated user and item parts."""
    mixed = not value.only("is_user") and not value.only("is_items")
    rank = len(value.parts[0].tensor.shape)
    if not mixed or len(value.parts) == 1 or (value.axis, rank) != (1, 2):
        return _any_layer(layer, value)
    x = _split_product(value, layer.kernel)
    if layer.use_bias:
        x = tf.nn.bias_add(x, layer.bias)
    return Value([Part(layer.activation(x), False)])


def _split_product(value: Value, kernel: tf.Tensor) -> tf.Tensor:
    """$W [u, v, r] = W_u u + W_v v + W_r r$, `[n, units]`."""
    sizes = [part.tensor.shape[1] for part in value.parts]
    rows = tf.split(kernel, sizes)
    pairs = list(zip(value.parts, rows, strict=True))
    kinds = (
        [(p, w) for p, w in pairs if p.is_user],
        [(p, w) for p, w in pairs if p.is_items],
        [(p, w) for p, w in pairs if not p.is_user and not p.is_items],
    )
    products = [_product(kind) for kind in kinds if kind]
    total = products[0].meet()
    for product in products[1:]:
        total = total + product.meet()
    return total


def _product(pairs: list[tuple[Part, tf.Tensor]]) -> Part:
    parts, kernels = zip(*pairs, strict=True)
    if len(pairs) == 1:
        return parts[0].like(parts[0].tensor @ kernels[0])
    x = tf.concat([p.tensor for p in parts], 1)
    return parts[0].like(x @ tf.concat(kernels, 0))
