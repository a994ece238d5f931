"""Scores many candidates of one user, computing the user's part once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import tensorflow as tf

from kd_tfrs.errors import UserError
from kd_tfrs.models.one_user_layers import Value, apply

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
            id(inputs[n]): Value.of_user(tf.convert_to_tensor(user[n]))
            for n in self.user_inputs
        } | {
            id(inputs[n]): Value.of_items(tf.convert_to_tensor(items[n]), met)
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


def _evaluate(tensor: tf.Tensor, values: dict[int, Value]) -> Value:
    """Evaluates a symbolic tensor, and stores the values it depends on."""
    if id(tensor) not in values:
        node = tensor.node
        args = tf.nest.map_structure(
            lambda x: _evaluate(x, values), list(node.call_args)
        )
        # Every layer of a ranker has one output.
        values[id(tensor)] = apply(node.layer, *args)
    return values[id(tensor)]
