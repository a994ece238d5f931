"""From the data options to everything that a ranker's run needs."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import logging
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd

from kd_tfrs.data.ranking import Examples, ExampleSplit
from kd_tfrs.data.ranking.batches import RankingBatches
from kd_tfrs.data.ranking.examples import PARTS
from kd_tfrs.data.ranking.priors import balanced_class_weights
from kd_tfrs.data.ranking.sessions import SessionBatches
from kd_tfrs.data.ranking.unlabelled import unlabelled_rows
from kd_tfrs.data.schema import Column, Encoding, Owner
from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.ranking import RankingEvaluation
from kd_tfrs.models.features import FeatureSet
from kd_tfrs.models.ranking import RankingTask
from kd_tfrs.workflow.ranking.loading import load_data
from kd_tfrs.workflow.ranking.options import (
    RankerOptions,
    RankerTrainOptions,
    RankingDataConfig,
    RankingEvaluationOptions,
)
from kd_tfrs.workflow.ranking.protocols import for_test, for_validation

logger = logging.getLogger(__name__)
HISTORY = "history"
UNLABELLED = "unlabelled"
# Features and labels by name, weights; one value a row.
_Rows = tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]
_SEED = 20


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What a network looks at.

    Args:
        features: adapted features.
        history_length: items of a history, or `None`.
        item_id: name of the feature that encodes them, or `None`.
    """

    features: FeatureSet
    history_length: int | None
    item_id: str | None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the network's inputs."""
        names = tuple(feature.name for feature in self.features)
        return names if self.history_length is None else (*names, HISTORY)


@dataclasses.dataclass(frozen=True, eq=False)
class RankingPrepared:
    """Data, tasks and protocols of a run.

    Args:
        split: examples apart.
        tasks: the labels to learn; the first is tuned for.
        features: every feature, adapted on training rows.
        tables: encoded features by part and name, `[rows, ...]`.
        validation_rows: of the validation examples, those that are scored
            while training.
        validation: by task, the protocol of those rows.
        test: by task, the protocol to report.
    """

    split: ExampleSplit
    tasks: tuple[RankingTask, ...]
    features: FeatureSet
    tables: Mapping[str, Mapping[str, np.ndarray]]
    validation_rows: np.ndarray
    validation: Mapping[str, RankingEvaluation]
    test: Mapping[str, RankingEvaluation]

    @property
    def title(self) -> str:
        """The data in a line."""
        return str(self.split)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The features of the data, with their owners and encodings."""
        return self.split.train.columns

    @property
    def task(self) -> RankingTask:
        """The first task."""
        return self.tasks[0]

    def parts(self) -> list[pd.DataFrame]:
        """Examples with their labels, to train, to validate and to test."""
        parts = [getattr(self.split, part) for part in PARTS]
        return [part.table.assign(**part.labels) for part in parts]

    @functools.cached_property
    def owners(self) -> dict[str, Owner]:
        """The owner of each feature; a history belongs to the user."""
        owners = {c.name: c.owner for c in self.split.train.columns}
        return {**owners, HISTORY: Owner.USER}

    def inputs(self, options: RankerOptions, served: bool) -> Inputs:
        """What a network may look at.

        Raises:
            UserError: nothing is left.
        """
        train = self.split.train
        columns = {
            column.name: column
            for column in (train.served_columns if served else train.columns)
            if options.features == "all" or column.encoding is Encoding.ID
        }
        chosen = [f for f in self.features if f.name in columns]
        if not chosen:
            raise UserError(
                "`features` should leave a network something to see. "
                f"Received: `features` = {options.features!r} for data "
                "without ids. Give all."
            )
        item = _item_id(columns.values())
        if train.history is None or not options.use_history or item is None:
            return Inputs(FeatureSet(chosen), None, None)
        return Inputs(FeatureSet(chosen), train.history.shape[1], item)

    def inputs_of(self, names: Collection[str]) -> Inputs:
        """What a network reads that has inputs of these names.

        Args:
            names: of the inputs of the network.

        Returns:
            The features, in the order of the data.

        Raises:
            UserError: an input is no feature of the data.
        """
        known = {*self.tables["train"]}
        if set(names) - known:
            raise UserError(
                "A network should read features of the data: "
                f"{', '.join(sorted(known))}. Received: inputs "
                f"{', '.join(sorted(names))}. Name its inputs after them."
            )
        chosen = FeatureSet([f for f in self.features if f.name in names])
        if HISTORY not in names:
            return Inputs(chosen, None, None)
        train = self.split.train
        return Inputs(chosen, train.history.shape[1], _item_id(train.columns))

    def with_unlabelled(self, share: float, seed: int) -> RankingPrepared:
        """The same with rows that no one has judged.

        Args:
            share: such rows for each training row; none at 0.
            seed: of their draw.

        Returns:
            Prepared data whose `tables` have a part "unlabelled", which
            `batches` adds to the training rows.

        Raises:
            UserError: see `unlabelled_rows`.
        """
        if not share:
            return self
        train = self.tables["train"]
        count = max(1, round(share * len(self.split.train)))
        more = unlabelled_rows(train, self.owners, count, _SEED + seed)
        tables = {**self.tables, UNLABELLED: more}
        return dataclasses.replace(self, tables=tables)

    def batches(
        self,
        names: tuple[str, ...],
        options: RankerTrainOptions,
        seed: int,
        sessions: np.ndarray | None = None,
    ) -> RankingBatches:
        """Training batches.

        Args:
            names: of the features in them.
            options: batch size, sampling and weights.
            seed: of shuffles and draws.
            sessions: `[train examples]`, whose rows are adjacent;
                rows are shuffled when `None`.

        Returns:
            See `RankingBatches` and `SessionBatches`.
        """
        task = self.task
        class_weights = None
        if options.class_weights == "balanced":
            class_weights = self._balanced(options.negative_rate)
        make = RankingBatches
        if sessions is not None:
            make = functools.partial(SessionBatches, sessions)
        features, labels, weights = self._training_rows(names)
        return make(
            features,
            labels,
            weights,
            batch_size=options.batch_size,
            seed=seed,
            task=task.name,
            negative_rate=options.negative_rate,
            class_weights=class_weights,
        )

    def _balanced(self, negative_rate: float) -> dict[int, float]:
        """Under which both classes of an epoch weigh the same."""
        train = self.split.train
        labels = train.labels[self.task.name]
        kept = np.where(labels > 0, 1.0, negative_rate)
        return balanced_class_weights(labels, kept * train.weights)

    def _training_rows(self, names: tuple[str, ...]) -> _Rows:
        """Training rows, and after them those without a label."""
        parts = [
            self._part(part, names)
            for part in ("train", UNLABELLED)
            if part in self.tables
        ]
        features, labels = (
            {n: np.concatenate([p[i][n] for p in parts]) for n in parts[0][i]}
            for i in range(2)
        )
        return features, labels, np.concatenate([p[2] for p in parts])

    def _part(self, part: str, names: tuple[str, ...]) -> _Rows:
        """Features, labels and weights of a part; no label is NaN."""
        features = {name: self.tables[part][name] for name in names}
        if part != UNLABELLED:
            examples = getattr(self.split, part)
            return features, examples.labels, examples.weights
        ones = np.ones(len(features[names[0]]), np.float32)
        return features, {t.name: np.nan * ones for t in self.tasks}, ones

    def rows(
        self, part: str, names: tuple[str, ...], rows: np.ndarray | None = None
    ) -> RankingBatches:
        """Rows of a part in order.

        Args:
            part: "train", "validation", "test", or "unlabelled" where there
                are such rows.
            names: of the features in them.
            rows: which; all when `None`.

        Returns:
            Batches for `in_order`.
        """
        features, labels, weights = self._part(part, names)
        rows = slice(None) if rows is None else rows
        return RankingBatches(
            {name: values[rows] for name, values in features.items()},
            {name: values[rows] for name, values in labels.items()},
            weights[rows],
            batch_size=8192,
        )

    def validated(self, names: tuple[str, ...]) -> RankingBatches:
        """The validation rows that are scored while training, in order."""
        return self.rows("validation", names, self.validation_rows)

    def fingerprint(self) -> str:
        """SHA-256 of the data, 64 hexadecimal digits."""
        if self.split.interactions is not None:
            return self.split.interactions.fingerprint()
        digest = hashlib.sha256(self.split.name.encode())
        for part in PARTS:
            examples: Examples = getattr(self.split, part)
            hashes = pd.util.hash_pandas_object(examples.table, index=False)
            digest.update(hashes.to_numpy().tobytes())
            for labels in examples.labels.values():
                digest.update(np.ascontiguousarray(labels))
        return digest.hexdigest()


def prepare(
    data: RankingDataConfig, evaluation: RankingEvaluationOptions, seed: int
) -> RankingPrepared:
    """Loads, splits and encodes the data.

    Raises:
        UserError: the data cannot be used; see the message.

    Example:
    ```python
    options = RankingEvaluationOptions()
    prepared = prepare(RankingDataConfig("movielens-100k"), options, 0)
    ```
    """
    return prepare_examples(
        load_data(data, seed), evaluation, task_weights=data.task_weights
    )


def prepare_examples(
    split: ExampleSplit,
    evaluation: RankingEvaluationOptions | None = None,
    *,
    task_weights: tuple[float, ...] = (),
) -> RankingPrepared:
    """The same for examples in hand.

    Args:
        split: examples apart.
        evaluation: what is measured; the defaults when `None`.
        task_weights: weight of each task's loss; ones without any.

    Returns:
        Everything that training and evaluation need.

    Raises:
        UserError: a label cannot be learned or measured.
    """
    evaluation = evaluation or RankingEvaluationOptions()
    logger.info("%s", split)
    tasks = _tasks(split.train, task_weights)
    features = FeatureSet.adapt(split.train.columns, split.train.table)
    rows = _some_rows(len(split.validation), evaluation.validation_rows)
    return RankingPrepared(
        split,
        tasks,
        features,
        {part: _encode(features, getattr(split, part)) for part in PARTS},
        rows,
        {t.name: for_validation(split, t, rows) for t in tasks},
        {t.name: for_test(split, t) for t in tasks},
    )


def _tasks(
    train: Examples, weights: tuple[float, ...]
) -> tuple[RankingTask, ...]:
    weights = weights or (1.0,) * len(train.labels)
    tasks = []
    for (name, labels), weight in zip(
        train.labels.items(), weights, strict=True
    ):
        known = labels[~np.isnan(labels)]
        kind = "binary" if np.isin(known, (0, 1)).all() else "rating"
        task = RankingTask(name, kind, weight)
        tasks.append(task.starting_at(labels, train.weights))
    return tuple(tasks)


def _encode(features: FeatureSet, examples: Examples) -> dict[str, np.ndarray]:
    encoded = features.encode(examples.table)
    item = _item_id(examples.columns)
    by_name = {feature.name: feature for feature in features}
    if examples.history is not None and item in by_name:
        encoded[HISTORY] = by_name[item].encode_ids(examples.history)
    return encoded


def _item_id(columns: Any) -> str | None:
    """Name of the item's id among columns."""
    for column in columns:
        column: Column
        if column.owner is Owner.ITEM and column.encoding is Encoding.ID:
            return column.name
    return None


def _some_rows(count: int, limit: int) -> np.ndarray:
    """The same rows in every run."""
    if count <= limit:
        return np.arange(count)
    rng = np.random.default_rng(_SEED)
    return np.sort(rng.choice(count, limit, replace=False))
