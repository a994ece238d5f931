"""Compares the time of a step of LazyAdam with that of plain SGD.

Two measures, for a large embedding table of which a step looks up a batch of
random rows. `training step`: look the rows up, in-batch softmax against as many
candidates, gradient and update. `update alone`:
`apply_gradients` with an `IndexedSlices` gradient. SGD writes one table there
and LazyAdam three, so that the bound holds for the training step.

The optimizers are measured in turns in random order, so that load on the
machine affects all of them. The ratio is one of medians.

    python experiments/benchmarks/lazy_adam.py \
        --output=experiments/benchmarks/results/lazy_adam
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

import kd_tfrs  # noqa: F401  before TensorFlow: it chooses Keras 2

# isort: split
import numpy as np
import tensorflow as tf
from absl import app, flags

sys.path.insert(0, os.path.dirname(__file__))
import common

from kd_tfrs.models import LazyAdam

_ROWS = flags.DEFINE_integer("rows", 1_000_000, "Rows of the table.", 1)
_DIM = flags.DEFINE_integer("dim", 64, "Width of the table.", 1)
_BATCH = flags.DEFINE_integer("batch", 1024, "Rows a step looks up.", 1)
_REPEATS = flags.DEFINE_integer("repeats", 200, "Measured turns.", 2)
_WARMUP = flags.DEFINE_integer("warmup", 20, "Warm-up turns.", 1)
_SEED = flags.DEFINE_integer("seed", 0, "Of the rows that are looked up.")
_LIMIT = flags.DEFINE_float("limit", 1.5, "Largest ratio of LazyAdam to SGD.")
_OUTPUT = flags.DEFINE_string(
    "output", None, "Where to write the result, without .json and .md."
)

Step = Callable[[tf.Tensor, tf.Tensor], object]
_BASE = "SGD (legacy)"
_MEASURES = ("training step", "update alone")


def make_update(optimizer: tf.keras.optimizers.legacy.Optimizer) -> Step:
    """The update alone, on a table of its own.

    Args:
        optimizer: a legacy Keras optimizer.

    Returns:
        A compiled step from `[batch]` rows and `[batch, dim]` gradients.
    """
    table = tf.Variable(tf.random.normal([_ROWS.value, _DIM.value]))
    # As numbers: asking the variable for its shape would copy the table.
    shape = tf.constant(table.shape.as_list(), tf.int64)

    @tf.function
    def step(rows: tf.Tensor, values: tf.Tensor) -> None:
        gradient = tf.IndexedSlices(values, rows, shape)
        optimizer.apply_gradients([(gradient, table)])

    return step


def make_training(optimizer: tf.keras.optimizers.legacy.Optimizer) -> Step:
    """A training step, on a table of its own.

    Args:
        optimizer: a legacy Keras optimizer.

    Returns:
        A compiled step from `[batch]` rows and `[batch, dim]` candidates.
    """
    layer = tf.keras.layers.Embedding(_ROWS.value, _DIM.value)
    layer.build(None)

    @tf.function
    def step(rows: tf.Tensor, candidates: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            scores = tf.matmul(layer(rows), candidates, transpose_b=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                tf.range(tf.shape(rows)[0]), scores
            )
            loss = tf.reduce_mean(losses)
        optimizer.minimize(loss, layer.trainable_variables, tape=tape)

    return step


def measure(steps: dict[str, Step]) -> common.Times:
    """Milliseconds of every turn, the steps one after the other in each."""
    generator = np.random.default_rng(_SEED.value)
    times: common.Times = {name: [] for name in steps}
    for turn in range(_WARMUP.value + _REPEATS.value):
        rows = tf.constant(generator.integers(0, _ROWS.value, _BATCH.value))
        values = tf.constant(
            generator.normal(size=(_BATCH.value, _DIM.value)), tf.float32
        )
        # A random order: caches depend on the optimizer before.
        for name in generator.permutation(list(steps)):
            start = time.perf_counter()
            steps[name](rows, values)
            elapsed = time.perf_counter() - start
            if turn >= _WARMUP.value:
                times[name].append(1e3 * elapsed)
    return times


def to_markdown(result: dict) -> str:
    """The result as a page."""
    size = "{rows:,} x {dim} table, {batch:,} rows a step".format(**result)
    lines = [
        "# Optimizer step on a large embedding table",
        "",
        f"{size}; {result['repeats']} interleaved turns after "
        f"{result['warmup']} of warm-up.",
        "",
        *common.table(
            [
                "measure",
                "optimizer",
                "p50 ms",
                "p95 ms",
                "p99 ms",
                "p50 / SGD's",
            ],
            [
                [
                    measured,
                    name,
                    f"{row['p50_ms']:.2f}",
                    f"{row['p95_ms']:.2f}",
                    f"{row['p99_ms']:.2f}",
                    f"{row['ratio']:.2f}",
                ]
                for measured in _MEASURES
                for name, row in result[measured].items()
            ],
        ),
        "",
        f"Required: a training step of LazyAdam takes at most "
        f"{result['limit']} times one of SGD.",
        "",
        *common.closing(result),
    ]
    return "\n".join(lines)


def optimizers() -> dict[str, tf.keras.optimizers.legacy.Optimizer]:
    """The optimizers that are compared, new ones."""
    legacy = tf.keras.optimizers.legacy
    return {
        _BASE: legacy.SGD(0.1),
        "Adagrad (legacy)": legacy.Adagrad(0.1),
        "LazyAdam": LazyAdam(0.001),
    }


def run() -> dict:
    """Measures, prints, and writes to `--output`.

    Returns:
        The result as it is written to JSON.
    """
    names = ("rows", "dim", "batch", "repeats", "warmup", "seed", "limit")
    result = {name: flags.FLAGS[name].value for name in names}
    for measured, make in zip(
        _MEASURES, (make_training, make_update), strict=True
    ):
        steps = {name: make(one) for name, one in optimizers().items()}
        result[measured] = common.summarise(measure(steps), _BASE)
    result["environment"] = common.environment()
    result["command"] = "python experiments/benchmarks/lazy_adam.py " + (
        " ".join(f"--{name}={result[name]}" for name in names)
    )
    common.publish(result, to_markdown(result), _OUTPUT.value)
    return result


def main(argv: list[str]) -> None:
    """Runs the benchmark, and fails if LazyAdam exceeds the limit."""
    del argv
    result = run()
    ratio = result[_MEASURES[0]]["LazyAdam"]["ratio"]
    if ratio > _LIMIT.value:
        raise SystemExit(f"LazyAdam takes {ratio:.2f} times SGD's step.")


if __name__ == "__main__":
    app.run(main)
