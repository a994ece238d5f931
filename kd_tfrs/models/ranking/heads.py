"""Heads of one or several tasks, with a shared bottom or shared experts."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from kd_tfrs.config_mixin import ConfigMixin
from kd_tfrs.models.layers import dropped
from kd_tfrs.models.ranking.activations import hidden_layers
from kd_tfrs.models.ranking.body import Body, joined
from kd_tfrs.models.ranking.config import RankerConfig
from kd_tfrs.models.ranking.task import RankingTask


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class ExpertMixture(tf.keras.layers.Layer):
    r"""The outputs of experts, weighted by a gate.

    $$f(x) = \sum_i g(x)_i f_i(x)$$

    Call it with `[gate, expert, expert, ...]`, `[batch, experts]` and
    `[batch, width]` each; it returns `[batch, width]`.

    Example:
    >>> experts = [tf.constant([[1.0]]), tf.constant([[3.0]])]
    >>> ExpertMixture()([tf.constant([[0.25, 0.75]]), *experts]).numpy()
    array([[2.5]], dtype=float32)
    """

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        """See the class."""
        gate, *experts = inputs
        return tf.add_n([gate[:, i, None] * x for i, x in enumerate(experts)])


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class TakeColumn(ConfigMixin, tf.keras.layers.Layer):
    """One column of a matrix: `[batch, width]` to `[batch]`.

    Args:
        index: index of the column.
        **kwargs: see `tf.keras.layers.Layer`.

    Example:
    >>> TakeColumn(1)(tf.constant([[4.0, 5.0]])).numpy()
    array([5.], dtype=float32)
    """

    def __init__(self, index: int, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.index = index

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """See the class."""
        return inputs[:, self.index]


def add_heads(
    body: Body, config: RankerConfig, tasks: Sequence[RankingTask]
) -> dict[str, tf.Tensor]:
    r"""Adds the deep part and a head for every task.

    $$z_k = h_k([f_k(x), s]) + \text{additive}_k, \qquad
    f_k(x) = f(x) \;\text{or}\; \sum_i g_k(x)_i f_i(x), \qquad
    g_k(x) = \text{softmax}(W_k x)$$

    with one perceptron $f$ that all tasks share, or with experts $f_i$ and a
    gate $g_k$ of each task; $s$ is the additional input of the heads and $h_k$
    the tower of a task, which is linear without `tower_units`.

    Args:
        body: the network.
        config: sizes.
        tasks: the tasks, in the order of the additive terms' columns.

    Returns:
        `logits_<task>` `[batch]` float32; `hidden_<i>` `[batch, units]`, the
        concatenated layers of all experts if there are any; with experts also
        `gate_<task>` `[batch, experts]`.

    References:
        Caruana 1997, "Multitask Learning" (shared bottom); Ma et al. 2018,
        "Modeling Task Relationships in Multi-task Learning with Multi-gate
        Mixture-of-Experts", section 4.
    """
    if config.experts:
        inputs, outputs = _experts(body, config, tasks)
    else:
        bottom, outputs = _bottom(body, config)
        inputs = {task.name: bottom for task in tasks}
    logits = joined([_tower(inputs[t.name], config, t) for t in tasks], "heads")
    if body.additive:
        logits = tf.keras.layers.Add(name="terms")([logits, *body.additive])
    for i, task in enumerate(tasks):
        # Logits are float32 under every policy of the layers.
        outputs[task.output] = TakeColumn(i, dtype="float32", name=task.output)(
            logits
        )
    return outputs


def _bottom(
    body: Body, config: RankerConfig
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    if not config.hidden_units and body.beside is not None:
        return body.beside, {}
    x, hidden = hidden_layers(
        dropped(body.deep, config.dropout),
        config.hidden_units,
        config.activation,
        config.dropout,
    )
    return _with_beside(x, body, "deep"), _numbered(hidden)


def _experts(
    body: Body, config: RankerConfig, tasks: Sequence[RankingTask]
) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
    x = dropped(body.deep, config.dropout)
    experts, hidden = [], []
    for i in range(config.experts):
        last, layers = hidden_layers(
            x,
            config.hidden_units,
            config.activation,
            config.dropout,
            prefix=f"expert_{i}_",
        )
        experts.append(last)
        hidden.append(layers)
    outputs = _numbered(
        [
            joined(layer, f"hidden_{i}")
            for i, layer in enumerate(zip(*hidden, strict=True))
        ]
    )
    mixtures = {}
    for task in tasks:
        gate = tf.keras.layers.Dense(
            config.experts,
            activation="softmax",
            use_bias=False,
            name=f"gate_{task.name}",
        )(x)
        outputs[f"gate_{task.name}"] = gate
        mixed = ExpertMixture(name=f"mixture_{task.name}")([gate, *experts])
        mixtures[task.name] = _with_beside(mixed, body, f"deep_{task.name}")
    return mixtures, outputs


def _with_beside(x: tf.Tensor, body: Body, name: str) -> tf.Tensor:
    return x if body.beside is None else joined([x, body.beside], name)


def _numbered(hidden: Sequence[tf.Tensor]) -> dict[str, tf.Tensor]:
    return {f"hidden_{i}": x for i, x in enumerate(hidden)}


def _tower(x: tf.Tensor, config: RankerConfig, task: RankingTask) -> tf.Tensor:
    x, _ = hidden_layers(
        x,
        config.tower_units,
        config.activation,
        config.dropout,
        prefix=f"tower_{task.name}_",
    )
    return tf.keras.layers.Dense(
        1,
        bias_initializer=tf.keras.initializers.Constant(task.initial_logit),
        name=f"head_{task.name}",
    )(x)
