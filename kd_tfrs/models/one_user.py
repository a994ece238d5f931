"""Scores many candidates of one user, computing the user's part once."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import tensorflow as tf

from kd_tfrs.errors import UserError

Tensors = dict[str, tf.Tensor]
_BLOCK = 4096


class OneUserNetwork:
    r"""A ranking network for one user and many candidates.

    Tensors that depend on the user only are computed for one row, while the
    network itself computes them for every candidate. The first layer with
    inputs of both is split,

    $$W [u, v_i] + b = (W_u u + b) + W_v v_i$$

    so that the user's part is computed once as well. For a layer without a
    rule to split it, the user's row is repeated, so that all architectures are
    supported. The outputs equal those of the network up to the order of sums.

    Args:
        network: Functional, see `build_ranker`; pruning is stripped.
        user_inputs: names of the inputs that all candidates share: features
            of the user and of the event, and the history.
        outputs: names of the outputs; all logits when `None`.

    Raises:
        UserError: when a name is not an input or output of the network, or
            all inputs are shared by the candidates.

    Example:
    ```python
    fast = OneUserNetwork(model.network, ["user_id", "age", "history"])
    fast(user, items)["logits_liked"]  # user [1, ...], items [n, ...] -> [n]
    ```
    """

    def __init__(
        self,
        network: tf.keras.Model,
        user_inputs: Collection[str],
        outputs: Sequence[str] | None = None,
    ) -> None:
        self.network = network
        names = list(network.output)
        if outputs is None:
            outputs = [n for n in names if n.startswith("logits_")]
        self.outputs = tuple(outputs)
        self.user_inputs = tuple(n for n in network.input if n in user_inputs)
        self.item_inputs = tuple(
            n for n in network.input if n not in user_inputs
        )
        unknown = {*user_inputs} - {*network.input} | {*outputs} - {*names}
        if unknown or not self.item_inputs or not self.outputs:
            raise UserError(
                "`user_inputs` should be some of the network's inputs, and "
                f"not all. Received: {sorted(user_inputs)} and the outputs "
                f"{list(outputs)}; there are {sorted(network.input)} and "
                f"{names}."
            )

    def __call__(
        self, user: Mapping[str, tf.Tensor], items: Mapping[str, tf.Tensor]
    ) -> Tensors:
        """Scores candidates.

        Args:
            user: by name of `user_inputs`, `[1]` or `[1, length]`.
            items: by name of `item_inputs`, `[n]` or `[n, length]`.

        Returns:
            `[n, ...]` by name of `outputs`.
        """
        count = tf.shape(items[self.item_inputs[0]])[0]
        return self._run(user, items, count, lambda x: x)

    def _run(
        self,
        user: Mapping[str, tf.Tensor],
        items: Mapping[str, tf.Tensor],
        count: tf.Tensor | int,
        met: Callable[[tf.Tensor], tf.Tensor],
    ) -> Tensors:
        """`met` may replace item tensors that are combined with the user."""
        inputs = self.network.input
        values = {
            id(inputs[n]): _Value.of_user(tf.convert_to_tensor(user[n]))
            for n in self.user_inputs
        } | {
            id(inputs[n]): _Value.of_items(tf.convert_to_tensor(items[n]), met)
            for n in self.item_inputs
        }
        results = {}
        for name in self.outputs:
            value = _evaluate(self.network.output[name], values)
            results[name] = value.rows(count)
        return results


class OneUserCatalogue(tf.Module):
    """A ranking network for one user and rows of a catalogue.

    Tensors that depend on an item only are precomputed.

    Args:
        network: for one user.
        items: `[num_items, ...]` encoded features by `item_inputs`.

    Attributes:
        tables: precomputed tensors of the items, `[num_items, ...]` variables.

    Example:
    ```python
    once = OneUserNetwork(network, users)
    served = OneUserCatalogue(once, encoded_items)
    served(user, rows)["logits_liked"]  # rows [n] of the catalogue -> [n]
    ```
    """

    def __init__(
        self, network: OneUserNetwork, items: Mapping[str, np.ndarray]
    ) -> None:
        super().__init__(name="catalogue")
        self._network = network
        self.tables = [
            tf.Variable(x, trainable=False, name=f"items_{i}")
            for i, x in enumerate(_met_by_items(network, items))
        ]

    def __call__(
        self, user: Mapping[str, tf.Tensor], rows: tf.Tensor
    ) -> Tensors:
        """Scores candidates.

        Args:
            user: see `OneUserNetwork`.
            rows: `[n]` int32 rows of the catalogue.

        Returns:
            `[n, ...]` by name of the outputs.
        """
        tables, inputs = iter(self.tables), self._network.network.input
        # The graph does not contain the layers before the tables.
        empty = {
            n: tf.zeros([0, *inputs[n].shape[1:]], inputs[n].dtype)
            for n in self._network.item_inputs
        }
        return self._network._run(
            user,
            empty,
            tf.shape(rows)[0],
            lambda _: tf.gather(next(tables), rows),
        )


def _met_by_items(
    network: OneUserNetwork, items: Mapping[str, np.ndarray]
) -> list[np.ndarray]:
    """Item tensors that are combined with the user, in order of the network."""
    user = {
        name: tf.zeros([1, *x.shape[1:]], x.dtype)
        for name, x in network.network.input.items()
        if name in network.user_inputs
    }
    total, blocks = len(items[network.item_inputs[0]]), []
    for start in range(0, max(1, total), _BLOCK):
        seen: list[tf.Tensor] = []

        def keep(x: tf.Tensor, seen: list[tf.Tensor] = seen) -> tf.Tensor:
            seen.append(x)
            return x

        part = {
            n: items[n][start : start + _BLOCK] for n in network.item_inputs
        }
        network._run(user, part, len(part[network.item_inputs[0]]), keep)
        blocks.append([x.numpy() for x in seen])
    return [np.concatenate(x) for x in zip(*blocks, strict=True)]


def _evaluate(tensor: tf.Tensor, values: dict[int, _Value]) -> _Value:
    """Evaluates a symbolic tensor, and stores the values it depends on."""
    if id(tensor) not in values:
        node = tensor.node
        args = tf.nest.map_structure(
            lambda x: _evaluate(x, values), list(node.call_args)
        )
        # Every layer of a ranker has one output.
        values[id(tensor)] = _apply(node.layer, *args)
    return values[id(tensor)]


@dataclasses.dataclass(eq=False)
class _Part:
    """A tensor of the user, of the items, or of both."""

    # `[1, ...]` if it depends on the user only, otherwise `[n, ...]`.
    tensor: tf.Tensor
    is_user: bool
    # For a tensor of the items only, maps it to the tensor that is combined
    # with the user, such as gathered rows.
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

    def like(self, tensor: tf.Tensor) -> _Part:
        """A part with another tensor and the same dependencies."""
        return _Part(tensor, self.is_user, self.met)


@dataclasses.dataclass(eq=False)
class _Value:
    """The output of a layer: parts that are concatenated along an axis."""

    parts: list[_Part]
    # Positive; ignored for one part.
    axis: int = 0

    @classmethod
    def of_user(cls, tensor: tf.Tensor) -> _Value:
        """A `[1, ...]` tensor that all candidates share."""
        return cls([_Part(tensor, True)])

    @classmethod
    def of_items(
        cls, tensor: tf.Tensor, met: Callable[[tf.Tensor], tf.Tensor]
    ) -> _Value:
        """A `[n, ...]` tensor that depends on the candidates only."""
        return cls([_Part(tensor, False, met)])

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


def _any_layer(
    layer: tf.keras.layers.Layer, *args: _Value | list[_Value]
) -> _Value:
    """Evaluates a layer, in inference; repeats the user's row if inputs mix."""
    values: list[_Value] = tf.nest.flatten(list(args))
    for kind in ("is_user", "is_items"):
        if all(value.only(kind) for value in values):
            plain = tf.nest.map_structure(_Value.plain, list(args))
            return _Value([values[0].parts[0].like(layer(*plain))])
    count = _count(values)
    rows = tf.nest.map_structure(lambda v: v.rows(count), list(args))
    return _Value([_Part(layer(*rows), False)])


_apply = functools.singledispatch(_any_layer)


def _count(values: Sequence[_Value]) -> tf.Tensor:
    """Number of candidates."""
    value = next(v for v in values if not v.only("is_user"))
    value.meet_at_once()
    part = next(p for p in value.parts if not p.is_user)
    return tf.shape(part.meet())[0]


@_apply.register(tf.keras.layers.Dropout)
@_apply.register(tf.keras.layers.ActivityRegularization)
def _(layer: tf.keras.layers.Layer, value: _Value) -> _Value:
    return value


@_apply.register
def _(layer: tf.keras.layers.Concatenate, values: list[_Value]) -> _Value:
    rank = len(values[0].parts[0].tensor.shape)
    axis, parts = layer.axis % rank, []
    for value in values:
        if len(value.parts) > 1 and value.axis != axis:
            return _any_layer(layer, values)
        parts += value.parts
    return _Value(parts, axis)


@_apply.register
def _(layer: tf.keras.layers.Embedding, ids: _Value) -> _Value:
    parts = [p.like(tf.gather(layer.embeddings, p.tensor)) for p in ids.parts]
    return _Value(parts, ids.axis)


@_apply.register
def _(layer: tf.keras.layers.Cropping1D, value: _Value) -> _Value:
    first, last = layer.cropping
    parts = list(value.parts)
    # Whole parts are dropped, such as the history next to its item.
    if value.axis == 1 and len(parts) > 1:
        while first and parts and parts[0].tensor.shape[1] <= first:
            first -= parts.pop(0).tensor.shape[1]
        while last and parts and parts[-1].tensor.shape[1] <= last:
            last -= parts.pop().tensor.shape[1]
        if not first and not last:
            return _Value(parts, 1)
    return _any_layer(layer, value)


@_apply.register
def _(layer: tf.keras.layers.Add, values: list[_Value]) -> _Value:
    """Adds the user's row by broadcasting instead of repeating it."""
    users = [v for v in values if v.only("is_user")]
    items = [v for v in values if v.only("is_items")]
    mixed = [v for v in values if v not in users and v not in items]
    sums = [_sum(layer, same) for same in (users, items) if same]
    if not mixed and len(sums) == 1:
        return _Value(sums)
    count = _count(items + mixed)
    terms = [p.meet() for p in sums] + [v.rows(count) for v in mixed]
    return _Value([_Part(functools.reduce(tf.add, terms), False)])


def _sum(layer: tf.keras.layers.Layer, values: list[_Value]) -> _Part:
    plain = [value.plain() for value in values]
    total = plain[0] if len(plain) == 1 else layer(plain)
    return values[0].parts[0].like(total)


@_apply.register
def _(layer: tf.keras.layers.Dense, value: _Value) -> _Value:
    """Splits the kernel between concatenated user and item parts."""
    mixed = not value.only("is_user") and not value.only("is_items")
    rank = len(value.parts[0].tensor.shape)
    if not mixed or len(value.parts) == 1 or (value.axis, rank) != (1, 2):
        return _any_layer(layer, value)
    x = _split_product(value, layer.kernel)
    if layer.use_bias:
        x = tf.nn.bias_add(x, layer.bias)
    return _Value([_Part(layer.activation(x), False)])


def _split_product(value: _Value, kernel: tf.Tensor) -> tf.Tensor:
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


def _product(pairs: list[tuple[_Part, tf.Tensor]]) -> _Part:
    parts, kernels = zip(*pairs, strict=True)
    if len(pairs) == 1:
        return parts[0].like(parts[0].tensor @ kernels[0])
    x = tf.concat([p.tensor for p in parts], 1)
    return parts[0].like(x @ tf.concat(kernels, 0))
