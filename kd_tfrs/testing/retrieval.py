"""Helpers for tests of retrieval: a tiny world of users, items and events.

They also serve tests of custom losses, candidate samplers and models.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from kd_tfrs.data import Column, Interactions, Schema, clean
from kd_tfrs.data.catalogue import Catalogue
from kd_tfrs.data.retrieval.batches import Batch, Join, RetrievalBatches
from kd_tfrs.models import FeatureSet
from kd_tfrs.models.retrieval import RetrievalModel, TowerConfig, build_tower

_COUNTRIES = ("de", "fr", "it")
_GENRES = ("drama", "comedy", "crime", "war")
_WORDS = ("red", "blue", "night", "day", "river", "house")


def tiny_schema() -> Schema:
    """A schema with a column of nearly every encoding."""
    return Schema(
        (
            Column("user_id", "user", "id"),
            Column("age", "user", "number"),
            Column("country", "user", "category"),
            Column("item_id", "item", "id"),
            Column("title", "item", "text", max_length=4),
            Column("genres", "item", "categories", max_length=3),
            Column("year", "item", "buckets", num_buckets=4),
            Column("timestamp", "event", "time"),
            Column("weight", "event", "weight"),
        )
    )


def tiny_interactions(
    num_users: int = 12, num_items: int = 20, seed: int = 0
) -> Interactions:
    """Generates at most a few hundred events, mostly of every other item.

    Args:
        num_users: at least 1.
        num_items: at least 2.
        seed: seed of the random numbers.

    Returns:
        Clean interactions with user and item tables.

    Example:
    >>> len(tiny_interactions(num_users=5).users)
    5
    """
    rng = np.random.default_rng(seed)
    users = pd.DataFrame(
        {
            "user_id": [f"u{i:02d}" for i in range(num_users)],
            "age": rng.integers(18, 70, num_users),
            "country": rng.choice(_COUNTRIES, num_users),
        }
    )
    items = pd.DataFrame(
        {
            "item_id": [f"i{i:02d}" for i in range(num_items)],
            "title": [
                " ".join(rng.choice(_WORDS, 2)) for _ in range(num_items)
            ],
            "genres": [
                "|".join(rng.choice(_GENRES, 2, replace=False))
                for _ in range(num_items)
            ],
            "year": rng.integers(1950, 2020, num_items),
        }
    )
    liked = rng.random((num_users, num_items)) < np.where(
        np.add.outer(np.arange(num_users), np.arange(num_items)) % 2, 0.1, 0.6
    )
    # Every user and item has an event, since cleaning drops other rows.
    liked[np.arange(num_users), np.arange(num_users) % num_items] = True
    liked[np.arange(num_items) % num_users, np.arange(num_items)] = True
    user, item = np.nonzero(liked)
    events = pd.DataFrame(
        {
            "user_id": users["user_id"].to_numpy()[user],
            "item_id": items["item_id"].to_numpy()[item],
            "timestamp": rng.integers(1, 10**9, len(user)),
            "weight": rng.choice([0.5, 1.0, 2.0], len(user)),
        }
    )
    return clean(events, users, items, tiny_schema(), name="tiny")


@dataclasses.dataclass(frozen=True)
class TinyWorld:
    """Inputs of training, built by `tiny_world`.

    Args:
        interactions: the data.
        catalogue: rows for ids.
        query: features of users.
        candidate: features of items.
        query_tables: `[num_users + 1, ...]` by feature.
        candidate_tables: `[num_items, ...]` by feature.
        user_rows: `[n]` user rows of the events.
        item_rows: `[n]` item rows of the events.
    """

    interactions: Interactions
    catalogue: Catalogue
    query: FeatureSet
    candidate: FeatureSet
    query_tables: dict[str, np.ndarray]
    candidate_tables: dict[str, np.ndarray]
    user_rows: np.ndarray
    item_rows: np.ndarray

    def model(
        self, embedding_dim: int = 4, temperature: float = 0.5, **options: Any
    ) -> RetrievalModel:
        """A built retrieval model with random weights."""
        config = TowerConfig(embedding_dim, **options)
        return RetrievalModel(
            build_tower(self.query, config, name="query_tower"),
            build_tower(self.candidate, config, name="candidate_tower"),
            temperature=temperature,
        )

    def batches(self, batch_size: int = 8, **options: Any) -> RetrievalBatches:
        """Batches of all events."""
        options.setdefault("weights", self.interactions.events["weight"])
        return RetrievalBatches(
            self.user_rows,
            self.item_rows,
            self.query_tables,
            self.candidate_tables,
            self.catalogue.item_events,
            batch_size=batch_size,
            **options,
        )

    def batch(self, join: Join | None = None, **options: Any) -> Batch:
        """The first batch of the first epoch."""
        return next(iter(self.batches(**options).dataset(1, join=join)))

    def seen(self) -> tf.RaggedTensor:
        """Item rows of every user row, `[num_users + 1, (events)]`."""
        order = np.lexsort((self.item_rows, self.user_rows))
        return tf.RaggedTensor.from_value_rowids(
            tf.constant(self.item_rows[order]),
            tf.constant(self.user_rows[order]),
            nrows=self.catalogue.num_users + 1,
        )


def tiny_world(
    num_users: int = 12,
    num_items: int = 20,
    seed: int = 0,
    ids_only: bool = False,
) -> TinyWorld:
    """Builds a tiny world in which all events are for training.

    Example:
    >>> world = tiny_world()
    >>> world.model()(world.batch())["query"]["embedding"].shape
    TensorShape([8, 4])
    """
    interactions = tiny_interactions(num_users, num_items, seed)
    schema, events = interactions.schema, interactions.events
    catalogue = Catalogue.build(interactions, events)
    users, items = schema.user_features, schema.item_features
    if ids_only:
        users, items = users[:1], items[:1]
    query = FeatureSet.adapt(users, catalogue.users)
    candidate = FeatureSet.adapt(items, catalogue.items)
    return TinyWorld(
        interactions,
        catalogue,
        query,
        candidate,
        query.encode(catalogue.users, unknown_first=True),
        candidate.encode(catalogue.items),
        catalogue.user_rows(events["user_id"]),
        catalogue.item_rows(events["item_id"]),
    )
