"""Signatures of a served ranker: raw columns, tf.Examples, a ranked list."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import tensorflow as tf

from kd_tfrs.errors import UserError
from kd_tfrs.export.ranking.inputs import HISTORY, RankingInputs, missing_value
from kd_tfrs.export.ranking.stored_layers import stored_network
from kd_tfrs.export.ranking.tables import (
    GraphTables,
    ServingTables,
    encode_items,
)
from kd_tfrs.export.signature_functions import concrete, shared
from kd_tfrs.export.stored_table import FLOAT32, Storage
from kd_tfrs.models import OneUserCatalogue, OneUserNetwork
from kd_tfrs.models.ranking import RankingModel, RankingTask

Outputs = dict[str, tf.Tensor]
_REPEATED = {
    tf.string: tf.string,
    tf.int64: tf.int64,
    # A tf.Example has no other floats.
    tf.float64: tf.float32,
}


class RankingModule(tf.Module):
    r"""A ranking network behind three signatures.

    * `serving_default`: every feature as a raw column `[b]`, a history
      `[b, h]` -> for each task `logits_<task>` and `<task>` (a probability or
      a rating), `[b]`;
    * `serve_examples`: `examples [b]`, serialised `tf.train.Example`s -> the
      same;
    * `rank`, with tables: `user_id []`, `item_id [n]`, `k []`, the features
      of the user and the event `[]`, `history [h]` -> `item_id`, `score`
      `[k]`, best first. The score is the logit of one task.

    **Types.** Ids and categories are `int64` where they are integers in the
    data. Numbers and buckets are `float64` (in a tf.Example `float32`, which
    may round across the edge of a bucket). All other columns are strings as
    in the data, lists with their separator. Inputs have the names of the
    columns, with "_" for characters other than letters and digits. The keys
    of a tf.Example are the unchanged names.

    **Missing values.** The inputs of a signature are fixed, so a client sends
    "", the smallest int64, or NaN for a missing value; in a tf.Example it
    leaves the feature out. The first two signatures encode a missing value as
    unknown, as in training. `rank` always looks up the features of items. It
    looks up features and history of the user where the request has none.

    **Unknown ids.** For an unknown user, only the features in the request are
    used. An item that is not in the table has the score -inf and comes last,
    with an empty id ("" or the smallest int64). So do the last places where
    there are fewer items than `k`. Candidates may be padded with the empty
    id. Of equal scores, the smaller id comes first.

    **Speed.** `rank` computes the layers of the user once for all candidates.
    The layers that depend on an item alone are computed at export, see
    `OneUserCatalogue`: their tables replace the features of the items.

    Args:
        model: a built ranking model.
        inputs: the inputs that clients send.
        tables: the tables for lookups; without them there is no `rank`.
        rank_by: name of the task that ranks; the first task when `None`.
        logit_offsets: offsets that are added to the logits, by task. They
            correct for sampled negatives, see `RankingBatches.logit_offset`.
        storage: storage format of kernels and embeddings, see `Storage`.

    Raises:
        UserError: a table lacks a column, a task is unknown, or two inputs
            have the same name.

    Example:
    ```python
    inputs = RankingInputs.of(model, features, examples.train)
    tables = ServingTables.of(interactions, split.train, examples.train)
    module = RankingModule(model, inputs, tables)
    version = export_saved_model(module, "models/ranking")
    ```
    """

    def __init__(
        self,
        model: RankingModel,
        inputs: RankingInputs,
        tables: ServingTables | None = None,
        *,
        rank_by: str | None = None,
        logit_offsets: Mapping[str, float] | None = None,
        storage: Storage = FLOAT32,
    ) -> None:
        super().__init__(name="ranking")
        network, self.stored = stored_network(model.network, storage)
        # Variables and tables are attributes, so that they are saved. Layers
        # are not: Keras would write a function of each of them, which
        # no signature calls, and the graph would be several times as large.
        self.weights = list(network.variables)
        self.lookups = _lookups(inputs)
        self.tasks = model.tasks
        self.rank_task = choose_task(model.tasks, rank_by)
        self.logit_offsets = check_offsets(model.tasks, logit_offsets)
        self._inputs = inputs
        self._specs = _row_specs(inputs)
        self._logits = shared(
            functools.partial(self._network_logits, network),
            {
                name: tf.TensorSpec(x.shape, x.dtype)
                for name, x in network.input.items()
            },
        )
        self._predict = shared(self._predictions, self._specs)
        self.tables = None
        if tables is not None:
            self.tables = GraphTables(inputs, tables)
            items = encode_items(inputs, tables.items)
            once = OneUserNetwork(
                network,
                set(network.input) - set(items),
                [self.rank_task.output],
            )
            self.candidates = OneUserCatalogue(once, items)

    def signatures(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """The signatures, ready for `tf.saved_model.save`."""
        examples = tf.TensorSpec([None], tf.string, "examples")
        functions = {
            "serving_default": concrete(self._predict, self._specs),
            "serve_examples": concrete(self._examples, {"examples": examples}),
        }
        if self.tables is not None:
            specs = self.tables.specs(self._specs)
            functions["rank"] = concrete(self._rank, specs)
        return functions

    def _predictions(self, sent: Outputs) -> Outputs:
        """Predictions for rows."""
        logits = self._logits(_encode_rows(self._inputs, sent))
        outputs = {}
        for task in self.tasks:
            outputs[task.output] = logits[task.name]
            outputs[task.name] = task.predict(logits[task.name])
        return outputs

    def _examples(self, sent: Outputs) -> Outputs:
        """Predictions for rows in tf.Examples."""
        parsed = tf.io.parse_example(
            sent["examples"], _example_specs(self._inputs, self._specs)
        )
        columns = {
            name: tf.cast(parsed[name], spec.dtype)
            if spec.dtype == tf.float64
            else parsed[name]
            for name, spec in self._specs.items()
        }
        return self._predict(columns)

    def _rank(self, sent: Outputs) -> Outputs:
        """The best `k` of given items for one user."""
        positive = tf.debugging.assert_positive(
            sent["k"], "`k` should be at least 1. Received a smaller one."
        )
        with tf.control_dependencies([positive]):
            rows = self.tables.item_rows.lookup(sent["item_id"])
        # Rows ascend with ids, and `top_k` takes the first of equal scores.
        rows = tf.sort(rows)
        task = self.rank_task
        scores = self.candidates(self.tables.user(sent), tf.maximum(rows, 0))
        scores = scores[task.output] + self.logit_offsets[task.name]
        return self.tables.best(rows, scores, sent["k"])

    def _network_logits(
        self, network: tf.keras.Model, encoded: Outputs
    ) -> Outputs:
        outputs = network(encoded, training=False)
        return {
            task.name: outputs[task.output] + self.logit_offsets[task.name]
            for task in self.tasks
        }


def choose_task(
    tasks: Sequence[RankingTask], rank_by: str | None
) -> RankingTask:
    """Finds the task that ranks.

    Args:
        tasks: tasks of the model.
        rank_by: name of a task, or `None` for the first task.

    Returns:
        The task.

    Raises:
        UserError: the task is unknown.
    """
    matches = [t for t in tasks if rank_by in (None, t.name)]
    if not matches:
        raise UserError(
            "`rank_by` should be a task of the model. Received: `rank_by` = "
            f"{rank_by!r}; there are {[t.name for t in tasks]}."
        )
    return matches[0]


def check_offsets(
    tasks: Sequence[RankingTask], offsets: Mapping[str, float] | None
) -> dict[str, float]:
    """Checks offsets and adds zeros for tasks without an offset.

    Args:
        tasks: tasks of the model.
        offsets: offsets by name of the task.

    Returns:
        An offset for every task.

    Raises:
        UserError: the task is unknown.
    """
    names = [task.name for task in tasks]
    unknown = sorted(set(offsets or {}) - set(names))
    if unknown:
        raise UserError(
            "`logit_offsets` should be by task. Received: "
            f"{unknown[0]!r}; there are {names}."
        )
    return {name: float((offsets or {}).get(name, 0.0)) for name in names}


def _row_specs(inputs: RankingInputs) -> dict[str, tf.TensorSpec]:
    specs = {c.name: tf.TensorSpec([None], c.dtype) for c in inputs.columns}
    if inputs.history is not None:
        specs[HISTORY] = tf.TensorSpec([None, None], inputs.history.dtype)
    return specs


def _lookups(inputs: RankingInputs) -> list:
    return [
        layer.lookup_table
        for column in inputs.columns
        for layer in column.feature.layer._flatten_layers()
        if hasattr(layer, "lookup_table")
    ]


def _encode_rows(inputs: RankingInputs, sent: Outputs) -> Outputs:
    encoded = {c.name: c.encode(sent[c.name]) for c in inputs.columns}
    if inputs.history is not None:
        encoded[HISTORY] = inputs.history.encode_history(
            sent[HISTORY], inputs.history_length
        )
    return encoded


def _example_specs(
    inputs: RankingInputs, specs: Mapping[str, tf.TensorSpec]
) -> dict:
    parsing = {}
    for name, spec in specs.items():
        dtype = _REPEATED[spec.dtype]
        default = missing_value(dtype)
        if name == HISTORY and inputs.history is not None:
            parsing[name] = tf.io.FixedLenSequenceFeature(
                [], dtype, allow_missing=True, default_value=default
            )
        else:
            parsing[name] = tf.io.FixedLenFeature([], dtype, default)
    return parsing
