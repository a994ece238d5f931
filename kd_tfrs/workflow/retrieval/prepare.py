"""From the data options to everything that training and evaluation need."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Mapping

import numpy as np
import pandas as pd
import tensorflow as tf

from kd_tfrs.data import Interactions, Split
from kd_tfrs.data import split as split_events
from kd_tfrs.data.catalogue import Catalogue
from kd_tfrs.data.retrieval.batches import RetrievalBatches
from kd_tfrs.data.schema import Column, Encoding
from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.retrieval import FullRanking, SampledRanking
from kd_tfrs.models import FeatureSet
from kd_tfrs.models.features import Feature
from kd_tfrs.models.retrieval import RetrievalModel
from kd_tfrs.workflow.embedding_sizes import check_embedding_sizes
from kd_tfrs.workflow.retrieval import protocols
from kd_tfrs.workflow.retrieval.config import (
    DataConfig,
    EvaluationOptions,
    TowerOptions,
    TrainOptions,
)
from kd_tfrs.workflow.retrieval.loading import load_data

logger = logging.getLogger(__name__)
SIDES = ("query", "candidate")
# The only input of a tower that is a table.
ROW = "row"


@dataclasses.dataclass(frozen=True)
class Encoded:
    """The features of both sides, and their values by row.

    Args:
        query: features of the query tower.
        candidate: features of the candidate tower.
        query_tables: `[num_users + 1, ...]` by feature; row 0 is unknown.
        candidate_tables: `[num_items, ...]` by feature.
    """

    query: FeatureSet
    candidate: FeatureSet
    query_tables: dict[str, np.ndarray]
    candidate_tables: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Prepared:
    """Data, split and protocols of a run.

    Args:
        interactions: cleaned data.
        split: its parts.
        catalogue: rows for ids, from training events and tables.
        validation: protocol to tune on.
        test: protocol to report, used once a stage.
        sampled_test: the same against random negatives, or `None`.
    """

    interactions: Interactions
    split: Split
    catalogue: Catalogue
    validation: FullRanking
    test: FullRanking
    sampled_test: SampledRanking | None

    @property
    def title(self) -> str:
        """The data in a line."""
        return f"{self.interactions.name}: {self.split}"

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of the data, with their owners and encodings."""
        return self.interactions.schema.columns

    def parts(self) -> list[pd.DataFrame]:
        """Events to train, to validate and to test."""
        return [self.split.train, self.split.validation, self.split.test]

    def fingerprint(self) -> str:
        """SHA-256 of the data, 64 hexadecimal digits."""
        return self.interactions.fingerprint()

    def encode(self, options: TowerOptions | None = None) -> Encoded:
        """Encodes the features that the towers of a model see.

        Vocabularies and moments come from users and items with training
        events; every user and item of the catalogue is encoded.

        Args:
            options: whether all columns or ids only; all when `None`.

        Returns:
            Features and tables.
        """
        catalogue, schema = self.catalogue, self.interactions.schema
        sides = []
        for columns, table, events, unknown_first in (
            (
                schema.user_features,
                catalogue.users,
                catalogue.user_events[1:],
                True,
            ),
            (
                schema.item_features,
                catalogue.items,
                catalogue.item_events,
                False,
            ),
        ):
            if options is not None and options.features == "ids":
                columns = [c for c in columns if c.encoding is Encoding.ID]
            features = FeatureSet.adapt(columns, table[events > 0])
            sides.append((features, features.encode(table, unknown_first)))
        (query, query_tables), (candidate, candidate_tables) = sides
        return Encoded(query, candidate, query_tables, candidate_tables)

    @functools.cached_property
    def _all_encoded(self) -> Encoded:
        return self.encode()

    def encoded_for(self, model: RetrievalModel) -> Encoded:
        """The features that the towers of a model read.

        Args:
            model: of these data.

        Returns:
            Rows for a model of two tables, otherwise the encoded columns that
            are inputs of its towers.

        Raises:
            UserError: a tower has an input that the data do not have.
        """
        names = [_input_names(tower) for tower in model.networks]
        if names == [{ROW}, {ROW}]:
            found = encode_rows(self.catalogue)
            _check_towers(model, found)
            return found
        found = self._all_encoded
        tables = [found.query_tables, found.candidate_tables]
        for side, own, table in zip(SIDES, names, tables, strict=True):
            if own - set(table):
                raise UserError(
                    f"The {side} tower should read encoded columns of the "
                    f"data: {', '.join(sorted(table))}. Received: inputs "
                    f"{', '.join(sorted(own))}. Build it by kd.build_model, "
                    "or give its embeddings as the teacher."
                )
        _check_towers(model, found)
        query, candidate = (
            {name: table[name] for name in own}
            for own, table in zip(names, tables, strict=True)
        )
        return dataclasses.replace(
            found, query_tables=query, candidate_tables=candidate
        )

    def batches(
        self,
        encoded: Encoded,
        options: TrainOptions | None = None,
        seed: int = 0,
    ) -> RetrievalBatches:
        """Training batches.

        Args:
            encoded: the model's features.
            options: batch size and negatives; the defaults when `None`.
            seed: of shuffles and draws.

        Returns:
            See `RetrievalBatches`.
        """
        options = options or TrainOptions()
        train, schema = self.split.train, self.interactions.schema
        return RetrievalBatches(
            *self.train_rows(),
            encoded.query_tables,
            encoded.candidate_tables,
            self.catalogue.item_events,
            batch_size=options.batch_size,
            num_uniform_negatives=options.uniform_negatives,
            weights=train[schema.weight] if schema.weight else None,
            seed=seed,
        )

    def train_rows(self) -> tuple[np.ndarray, np.ndarray]:
        """User rows and item rows of the training events."""
        train, schema = self.split.train, self.interactions.schema
        return (
            self.catalogue.user_rows(train[schema.user_id]),
            self.catalogue.item_rows(train[schema.item_id]),
        )

    def seen(self) -> tf.RaggedTensor:
        """Training item rows of every user row, ascending."""
        users, items = self.train_rows()
        pairs = pd.DataFrame({"user": users, "item": items}).sort_values(
            ["user", "item"]
        )
        return tf.RaggedTensor.from_value_rowids(
            tf.constant(pairs["item"].to_numpy(np.int32)),
            tf.constant(pairs["user"].to_numpy(np.int32)),
            nrows=self.catalogue.num_users + 1,
        )


def encode_rows(catalogue: Catalogue) -> Encoded:
    """Features of a model whose towers read row numbers alone.

    Args:
        catalogue: of the data.

    Returns:
        One feature a side, which needs no preprocessing layer.
    """
    query, candidate = (
        np.arange(count, dtype=np.int32)
        for count in (catalogue.num_users + 1, catalogue.num_items)
    )
    return Encoded(
        *(
            FeatureSet([Feature(ROW, Encoding.ID, len(rows), 0, None)])
            for rows in (query, candidate)
        ),
        {ROW: query},
        {ROW: candidate},
    )


def _check_towers(model: RetrievalModel, found: Encoded) -> None:
    features = (found.query, found.candidate)
    for side, tower, own in zip(SIDES, model.networks, features, strict=True):
        check_embedding_sizes(f"The {side} tower", tower, own)


def _input_names(tower: tf.keras.Model) -> set[str]:
    named = isinstance(tower.input, Mapping)
    return set(tower.input if named else tower.input_names)


def prepare(
    data: DataConfig, evaluation: EvaluationOptions, seed: int
) -> Prepared:
    """Loads, cleans, hides, splits and indexes the data.

    Raises:
        UserError: the data cannot be used; see the message.

    Example:
    ```python
    prepared = prepare(DataConfig("movielens-100k"), EvaluationOptions(), 0)
    ```
    """
    return prepare_interactions(
        load_data(data), split=data.split, evaluation=evaluation, seed=seed
    )


def prepare_interactions(
    interactions: Interactions,
    *,
    split: Split | str = "auto",
    evaluation: EvaluationOptions | None = None,
    seed: int = 0,
) -> Prepared:
    """The same for interactions in hand, such as a DataFrame's.

    Args:
        interactions: cleaned data, see `kd_tfrs.data.clean`.
        split: a split of your own, or the name of a method, see
            `kd_tfrs.data.split`.
        evaluation: what is measured; the defaults when `None`.
        seed: of random splits.

    Returns:
        Everything that training and evaluation need.

    Raises:
        UserError: the data cannot be used; see the message.

    Example:
    ```python
    schema = Schema.infer(events, items=movies, item_id="movie_id")
    prepared = prepare_interactions(clean(events, None, movies, schema))
    ```
    """
    evaluation = evaluation or EvaluationOptions()
    logger.info("%s: %s", interactions.name, interactions.report)
    if isinstance(split, str):
        split = split_events(interactions, split, seed)
    logger.info("split: %s", split)
    catalogue = Catalogue.build(interactions, split.train)
    return Prepared(
        interactions=interactions,
        split=split,
        catalogue=catalogue,
        validation=protocols.for_validation(
            split, catalogue, evaluation.validation_users
        ),
        test=protocols.for_test(split, catalogue, interactions.schema),
        sampled_test=protocols.for_sampled_test(
            split, catalogue, evaluation.sampled_negatives
        ),
    )
