"""Models in process that answer as fast as TensorFlow lets them.

`EmbeddingScorer` has every user embedded beforehand and `KerasRanker` encodes
each request anew, layer by layer: both are right, and neither can be timed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from kd_tfrs.data.catalogue import Catalogue
from kd_tfrs.data.schema import Owner
from kd_tfrs.evaluation.catalogue import CatalogueScorer
from kd_tfrs.export.ranking.inputs import HISTORY, RankingInputs
from kd_tfrs.export.ranking.keras_ranker import (
    KerasRanker,
    Network,
    check_context,
)
from kd_tfrs.export.ranking.tables import ServingTables
from kd_tfrs.models.ranking import RankingTask
from kd_tfrs.workflow.ranking.measure import selected_outputs
from kd_tfrs.workflow.retrieval.measure import Embedded


class TowerScorer(CatalogueScorer):
    """Embeds users by the query tower, as an export does.

    `score(u, i) = query_tower(features of u) . candidate_embeddings[i]`

    Args:
        tower: the query tower.
        tables: its encoded features by user row, row 0 the unknown user.
        embedded: candidates, and the query of an unknown user.
        catalogue: ids of the rows.

    Example:
    ```python
    scorer = TowerScorer(model.query_tower, encoded.query_tables, embedded,
                         prepared.catalogue)
    ids, scores = scorer.recommend([196], k=300)
    ```
    """

    def __init__(
        self,
        tower: tf.keras.Model,
        tables: Mapping[str, np.ndarray],
        embedded: Embedded,
        catalogue: Catalogue,
    ) -> None:
        super().__init__(catalogue.user_ids, catalogue.item_ids)
        self._tables = dict(tables)
        self._fallback = embedded.fallback
        self._candidates = embedded.candidates[self._items.order].T.copy()
        self._embed = _compiled(
            lambda rows: tower(rows, training=False)["embedding"], self._tables
        )

    def catalogue_scores(self, users: np.ndarray) -> np.ndarray:
        """Scores every item of the catalogue; see `CatalogueScorer`."""
        rows = users + 1
        sent = {name: values[rows] for name, values in self._tables.items()}
        queries = np.array(self._embed(sent))
        queries[users < 0] = self._fallback
        return queries @ self._candidates


class TableRanker(KerasRanker):
    """Ranks by features of users and items that were encoded beforehand.

    Its scores equal those of `KerasRanker`. Values of a context are encoded
    once each and kept.

    Args:
        network: see `KerasRanker`; `compiled_network` makes a fast one.
        tasks: of the network; the first one ranks.
        inputs: see `RankingInputs`.
        tables: see `ServingTables`, with users.

    Example:
    ```python
    ranker = TableRanker(runner.predict, model.tasks, inputs, tables)
    ids, scores = ranker.rank(196, candidates, k=10, context={"hour": 20})
    ```
    """

    def __init__(
        self,
        network: Network,
        tasks: Sequence[RankingTask],
        inputs: RankingInputs,
        tables: ServingTables,
    ) -> None:
        super().__init__(network, tasks, inputs, tables)
        self._own = [c for c in inputs.columns if c.owner is not Owner.ITEM]
        self._sent = inputs.owned(Owner.USER, Owner.EVENT)
        self._encoded_users = {
            c.name: c.feature.encode(tables.users[c.name])
            for c in self._own
            if c.name in tables.users
        }
        self._values: dict[tuple[str, Any], np.ndarray] = {}
        if inputs.history is not None:
            self._encoded_users[HISTORY] = inputs.encode_histories(
                tables.histories
            )

    @property
    def context_names(self) -> tuple[str, ...]:
        """Columns of the event that the network looks at."""
        return tuple(c.name for c in self._sent if c.owner is Owner.EVENT)

    def _one_row(
        self, user_id: Any, context: Mapping[str, Any]
    ) -> dict[str, np.ndarray]:
        """What all candidates share, encoded, each `[1, ...]`."""
        names = [c.name for c in self._sent]
        check_context(context, names, self.inputs.history)
        row = self._user_row(user_id)
        if HISTORY in context or row < 0:
            return super()._one_row(user_id, context)
        found = {}
        for column in self._own:
            value = context.get(column.name)
            stored = self._encoded_users.get(column.name)
            if stored is not None and (pd.isna(value) or value == ""):
                found[column.name] = stored[row : row + 1]
            else:
                found[column.name] = self._encode(column, value)
        if self.inputs.history is not None:
            found[HISTORY] = self._encoded_users[HISTORY][row : row + 1]
        return found

    def _encode(self, column: Any, value: Any) -> np.ndarray:
        key = column.name, None if pd.isna(value) else value
        if key not in self._values:
            self._values[key] = column.feature.encode(pd.Series([value]))
        return self._values[key]


def compiled_network(
    model: Callable[[Any], Mapping[str, tf.Tensor]],
    tasks: Sequence[RankingTask],
    features: Mapping[str, np.ndarray],
) -> Network:
    """A network or a teacher as one graph of encoded features.

    Args:
        model: maps a batch to its outputs: a `RankingModel`, or a teacher's
            `outputs`.
        tasks: tasks of the logits.
        features: encoded features, of which shapes and types are read.

    Returns:
        From encoded features to `logits_<task>` `[n]` by name.
    """
    outputs = [task.output for task in tasks]
    return _compiled(selected_outputs(model, outputs), features)


def _compiled(
    function: Callable[[Any], Any], features: Mapping[str, np.ndarray]
) -> Callable[[Any], Any]:
    specs = {
        name: tf.TensorSpec([None, *x.shape[1:]], x.dtype)
        for name, x in features.items()
    }
    traced = tf.function(function, input_signature=[specs], autograph=False)
    return lambda sent: traced({name: sent[name] for name in specs})
