"""A ranking model in process, as the reference of an export."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from kd_tfrs.data.schema import Owner
from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.checks import check_k
from kd_tfrs.evaluation.ids import (
    INTEGER_PADDING,
    TEXT_PADDING,
    as_ids,
    padding_id,
)
from kd_tfrs.export.ranking.inputs import HISTORY, RankingInputs, in_blocks
from kd_tfrs.export.ranking.signatures import check_offsets, choose_task
from kd_tfrs.export.ranking.tables import ServingTables, encode_items
from kd_tfrs.models.ranking import RankingTask

_NONE = (-1, INTEGER_PADDING)
Network = Callable[[dict[str, np.ndarray]], Mapping[str, tf.Tensor]]


class KerasRanker:
    """Ranks with a network in process, with lookups in pandas and NumPy.

    It is an independent implementation of `RankingModule`, so that both can be
    compared. It also ranks with models that are never exported, such as an
    ensemble of teachers.

    Args:
        network: a function from encoded features to a dict with
            `logits_<task>` `[n]`, such as `model.network` or
            `LiteRtRunner.predict`.
        tasks: tasks of the network.
        inputs: see `RankingInputs`.
        tables: see `ServingTables`; needed by `rank`.
        rank_by: see `RankingModule`.
        logit_offsets: see `RankingModule`.

    Raises:
        UserError: a task is unknown.

    Example:
    ```python
    ranker = KerasRanker(model.network, model.tasks, inputs, tables)
    ids, scores = ranker.rank(196, candidates, k=10)
    ```
    """

    def __init__(
        self,
        network: Network,
        tasks: Sequence[RankingTask],
        inputs: RankingInputs,
        tables: ServingTables | None = None,
        *,
        rank_by: str | None = None,
        logit_offsets: Mapping[str, float] | None = None,
    ) -> None:
        self.network = network
        self.tasks = tuple(tasks)
        self.inputs = inputs
        self._tables = tables
        self._task = choose_task(tasks, rank_by)
        self._offsets = check_offsets(tasks, logit_offsets)
        if tables is not None:
            self._ids = as_ids(tables.items[tables.item_id])
            self._items = pd.Index(self._ids)
            self._encoded = encode_items(inputs, tables.items)
        self._users = None
        if tables is not None and tables.users is not None:
            self._users = pd.Index(tables.users[tables.user_id])

    def score(
        self, table: pd.DataFrame, history: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """Computes logits of rows.

        Args:
            table: `[n]` rows with the raw columns; for a SavedModel an absent
                column counts as missing.
            history: `[n, h]` raw ids, newest first, where the network has a
                history; none when `None`.

        Returns:
            `[n]` float32 logits by task.
        """
        encoded = self.inputs.encode(table, history)
        return in_blocks(self._logits, encoded, len(table))

    def rank(
        self,
        user_id: Any,
        items: Any,
        k: int,
        context: Mapping[str, Any] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Ranks given items for a user.

        Args:
            user_id: raw id.
            items: `[n]` raw ids.
            k: number of items to return, at least 1.
            context: features of the user and the event, by column; `history`
                is a list of raw ids, newest first.

        Returns:
            Ids and `float32` scores, `[k]`, best first; see `RankingModule`
            for ties, unknown items and places at the end.

        Raises:
            UserError: there are no tables, or the context has a column that
                the network does not use.
        """
        check_k(k)
        if self._tables is None:
            raise UserError(
                "`rank` looks features up. Received: no `tables`. Give "
                "KerasRanker the tables."
            )
        rows = np.sort(self._items.get_indexer(as_ids(items, "items")))
        rows = rows[rows >= 0]
        encoded = {name: x[rows] for name, x in self._encoded.items()}
        for name, row in self._one_row(user_id, context or {}).items():
            encoded[name] = np.repeat(row, len(rows), axis=0)
        scores = np.empty(0, np.float32)
        if len(rows):
            logits = in_blocks(self._logits, encoded, len(rows))
            scores = logits[self._task.name]
        best = np.lexsort((rows, -scores))[:k]
        padding = padding_id(is_text=self._ids.dtype == object)
        ids = np.full(k, padding, self._ids.dtype)
        ids[: len(best)] = self._ids[rows[best]]
        best_scores = np.full(k, -np.inf, np.float32)
        best_scores[: len(best)] = scores[best]
        return ids, best_scores

    def _logits(self, encoded: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        outputs = self.network(encoded)
        return {
            task.name: np.asarray(outputs[task.output], np.float32)
            + np.float32(self._offsets[task.name])
            for task in self.tasks
        }

    def _one_row(
        self, user_id: Any, context: Mapping[str, Any]
    ) -> dict[str, np.ndarray]:
        """The encoded inputs that all candidates share, each `[1, ...]`."""
        sent = self.inputs.owned(Owner.USER, Owner.EVENT)
        check_context(context, [c.name for c in sent], self.inputs.history)
        values, stored = {}, self._stored(user_id)
        for name in (column.name for column in sent):
            value = context.get(name)
            missing = pd.isna(value) or value == ""
            values[name] = stored.get(name) if missing else value
        if self.inputs.user_id is not None:
            values[self.inputs.user_id.name] = user_id
        encoded = {
            c.name: c.feature.encode(pd.Series([values[c.name]]))
            for c in self.inputs.columns
            if c.name in values
        }
        if self.inputs.history is not None:
            ids = self._history(user_id, context.get(HISTORY))
            encoded[HISTORY] = self.inputs.encode_histories(ids[None])
        return encoded

    def _stored(self, user_id: Any) -> Mapping[str, Any]:
        row = self._user_row(user_id)
        return {} if row < 0 else self._tables.users.iloc[row].to_dict()

    def _user_row(self, user_id: Any) -> int:
        if self._users is None:
            return -1
        return int(self._users.get_indexer([user_id])[0])

    def _history(self, user_id: Any, ids: Any) -> np.ndarray:
        """The raw ids of the request, else those of the table."""
        row, histories = self._user_row(user_id), self._tables.histories
        ids = as_ids([] if ids is None else ids, HISTORY)
        empty = np.isin(ids, [TEXT_PADDING] if ids.dtype == object else _NONE)
        if empty.all() and histories is not None and row >= 0:
            return histories[row]
        return ids


def check_context(
    context: Mapping[str, Any], names: Sequence[str], history: object
) -> None:
    """Checks that a context has only columns of the network.

    Args:
        context: values by column.
        names: columns of the user and the event that the network uses.
        history: `None` where the network has no history.

    Raises:
        UserError: the context has another column.
    """
    names = [*names, HISTORY] if history is not None else list(names)
    unknown = sorted(set(context) - set(names))
    if unknown:
        raise UserError(
            "`context` should have features of the user and the event. "
            f"Received: {unknown[0]!r}; the model looks at {names}. Leave it "
            "out."
        )
