"""A table of scores of another program as a teacher."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

import numpy as np
import pandas as pd
import tensorflow as tf

from kd_tfrs.distillation.score_files import check_table, read_table
from kd_tfrs.distillation.tfrs_models.outputs import (
    PREDICTS,
    RANKING,
    RETRIEVAL,
    RankingOutputs,
    RetrievalOutputs,
    TaskOutputs,
    as_logits,
)
from kd_tfrs.distillation.tfrs_models.teachers import (
    TASK,
    Batch,
    ModelTeacher,
    pick,
)
from kd_tfrs.errors import UserError

logger = logging.getLogger(__name__)

# A larger table of scores is looked up by hash, as [queries, candidates]
# would not fit in memory.
_DENSE_CELLS = 50_000_000


class ScoreTableTeacher(ModelTeacher):
    """A table of scores of another program, by ids.

    For PyTorch models, ALS, LightGBM or a language model. A pair without a
    score does not count.

    Ids are compared as text, so that 7 and "7" are one. The shares of the ids
    of the first batch that the table has are logged.

    Args:
        table: a DataFrame, or the path of a Parquet or CSV file.
        query: name of the feature of the query's id.
        candidate: name of the feature of the candidate's id.
        score: name of the column of scores.
        columns: names of the columns of the query's and the candidate's id;
            those of the features when `None`.
        kind: "retrieval" for scores of the candidates of a query, "ranking"
            for predictions.
        predicts: see `PredictionTeacher`, for ranking.

    Raises:
        UserError: the table lacks a column, has a pair twice, is empty, or a
            score is not finite.

    Example:
    ```python
    teacher = ScoreTableTeacher("scores.parquet", "user_id", "movie_title")
    ```
    """

    def __init__(
        self,
        table: pd.DataFrame | str | os.PathLike,
        query: str,
        candidate: str,
        score: str = "score",
        kind: str = RETRIEVAL,
        predicts: str = "logits",
        columns: tuple[str, str] | None = None,
    ) -> None:
        _check_choice("kind", kind, (RETRIEVAL, RANKING))
        _check_choice("predicts", predicts, PREDICTS)
        table = read_table(table)
        columns = tuple(columns or (query, candidate))
        check_table(table, *columns, score)
        self._kind, self._predicts = kind, predicts
        self._features = (query, candidate)
        self._lookups, codes = [], []
        for name in columns:
            ids = pd.Index(table[name].astype(str).unique())
            codes.append(ids.get_indexer(table[name].astype(str)))
            self._lookups.append(
                tf.keras.layers.StringLookup(
                    vocabulary=ids.tolist(), num_oov_indices=1
                )
            )
        self._scores = _PairScores(
            *codes, table[score].to_numpy(np.float32), *map(_size, codes)
        )

    @property
    def kinds(self) -> Mapping[str, str]:
        """See `ModelTeacher.kinds`."""
        return {TASK: self._kind}

    def check_ids(self, batch: Batch) -> None:
        """See `ModelTeacher.check_ids`; tells the shares that are found."""
        for at, name in enumerate(self._features):
            ids = np.unique(as_text(pick(batch, name)).numpy())
            rows = self._lookups[at](ids).numpy()
            share = float((rows > 0).mean())
            if share == 0:
                example = self._lookups[at].get_vocabulary()[1]
                raise UserError(
                    "The teacher should score the ids of the data. Received: "
                    f"0 % of {name} in the first batch; the table has ids "
                    f"such as {example!r}, the data such as "
                    f"{ids[0].decode()!r}. Compare the ids of both."
                )
            level = logging.INFO if share == 1 else logging.WARNING
            logger.log(
                level,
                "the table of scores has %.1f %% of %s of the first batch",
                100 * share,
                name,
            )
        known = self.outputs(batch)[TASK].known
        if not tf.reduce_any(known):
            raise UserError(
                "The teacher should score pairs of the data. Received: no "
                "score for a pair of the first batch. Score the candidates "
                "of each query, or take a larger batch."
            )

    def outputs(self, batch: Batch) -> Mapping[str, TaskOutputs]:
        """See `ModelTeacher.outputs`."""
        queries, candidates = (
            self._rows(at, pick(batch, name))
            for at, name in enumerate(self._features)
        )
        if self._kind == RETRIEVAL:

            def score_ids(ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
                rows = self._rows(1, ids)
                return self._scores(queries[:, None], rows[None, :])

            scores, known = self._scores(queries[:, None], candidates[None, :])
            outputs = RetrievalOutputs(scores, known=known, score_ids=score_ids)
            return {TASK: outputs}
        found, known = self._scores(queries, candidates)
        logits, is_binary = as_logits(found, self._predicts)
        outputs = RankingOutputs(logits, is_binary, known=known[:, None])
        return {TASK: outputs}

    def _rows(self, at: int, ids: tf.Tensor) -> tf.Tensor:
        """Rows of the query's or the candidate's ids; -1 where unknown."""
        # The unknown id is 0 in the lookup.
        return tf.cast(self._lookups[at](as_text(ids)), tf.int64) - 1


def as_text(ids: tf.Tensor) -> tf.Tensor:
    """Ids as `[n]` strings."""
    ids = tf.reshape(ids, [-1])
    return ids if ids.dtype == tf.string else tf.strings.as_string(ids)


class _PairScores:
    """Scores of pairs of rows, 0 where there is none, and where one is."""

    def __init__(
        self,
        queries: np.ndarray,
        candidates: np.ndarray,
        scores: np.ndarray,
        num_queries: int,
        num_candidates: int,
    ) -> None:
        self._width = num_candidates
        places = queries.astype(np.int64) * num_candidates + candidates
        self._dense = num_queries * num_candidates <= _DENSE_CELLS
        if self._dense:
            cells = np.full(num_queries * num_candidates, np.nan, np.float32)
            cells[places] = scores
            self._table = tf.constant(cells)
        else:
            self._table = tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(places, scores), np.nan
            )

    def __call__(
        self, queries: tf.Tensor, candidates: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        known = (queries >= 0) & (candidates >= 0)
        places = tf.where(known, queries * self._width + candidates, 0)
        if self._dense:
            scores = tf.gather(self._table, places)
        else:
            scores = self._table.lookup(places)
        known &= tf.logical_not(tf.math.is_nan(scores))
        return tf.where(known, scores, 0.0), known


def _size(codes: np.ndarray) -> int:
    return int(codes.max(initial=-1)) + 1


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UserError(
            f"`{name}` should be one of {', '.join(choices)}. Received: "
            f"`{name}` = {value!r}. Take one of them."
        )
