"""Helpers for tests of ranking: impressions with many columns."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from kd_tfrs.data import Column, Interactions, Schema, clean
from kd_tfrs.data.ranking.examples import ExampleSplit, build_examples
from kd_tfrs.data.splits import Split, by_time
from kd_tfrs.models import FeatureSet
from kd_tfrs.models.ranking import (
    RankerConfig,
    RankingModel,
    RankingTask,
    build_ranker,
)

_DAY_SECONDS = 86_400


def tiny_ranking_schema(integer_ids: bool = False) -> Schema:
    """A schema with a column of every encoding and of every owner."""
    buckets = 8 if integer_ids else None
    return Schema(
        (
            Column("user_id", "user", "id"),
            Column("age", "user", "number"),
            Column("country", "user", "category"),
            Column("item_id", "item", "id", hash_buckets=buckets),
            Column("Item title", "item", "text", max_length=4),
            Column("genres", "item", "categories", max_length=3),
            Column("year", "item", "buckets", num_buckets=4),
            Column("shelf", "item", "category"),
            Column("device", "event", "category", hash_buckets=5),
            Column("price", "event", "number"),
            Column("position", "event", "number", training_only=True),
            Column("timestamp", "event", "time"),
            Column("rating", "event", "label"),
        )
    )


@dataclasses.dataclass(frozen=True)
class TinyRanking:
    """Inputs of a ranker, built by `tiny_ranking`.

    Args:
        interactions: the data.
        split: split of the events by time.
        examples: examples of the tasks "liked" and "rating", with a history.
        features: features of the served columns, adapted to the training
            rows.
    """

    interactions: Interactions
    split: Split
    examples: ExampleSplit
    features: FeatureSet

    def model(
        self,
        architecture: str = "dnn",
        tasks: Sequence[RankingTask] = (
            RankingTask("liked"),
            RankingTask("rating", "rating"),
        ),
        seed: int = 0,
        **options: Any,
    ) -> RankingModel:
        """A built ranking model with random weights everywhere."""
        options = {"embedding_dim": 4, "hidden_units": (8,)} | options
        network = build_ranker(
            self.features,
            RankerConfig(architecture, **options),
            tasks,
            history_length=self.examples.train.history.shape[1],
            item_id=self.interactions.schema.item_id,
        )
        rng = np.random.default_rng(seed)
        network.set_weights(
            [rng.normal(scale=0.5, size=w.shape) for w in network.weights]
        )
        return RankingModel(network, tasks)


def tiny_ranking(
    num_users: int = 9,
    num_items: int = 14,
    seed: int = 0,
    integer_ids: bool = False,
    history_length: int = 3,
) -> TinyRanking:
    """A hundred impressions with missing values, split by time.

    Args:
        num_users: at least 1.
        num_items: at least 2.
        seed: seed of the random numbers.
        integer_ids: whether ids are integers, or non-ASCII text.
        history_length: length of the history.

    Returns:
        The world.

    Example:
    >>> world = tiny_ranking()
    >>> world.model().tasks[0].output
    'logits_liked'
    """
    rng = np.random.default_rng(seed)
    users, items = _tables(rng, num_users, num_items, integer_ids)
    events = _events(rng, users, items)
    schema = tiny_ranking_schema(integer_ids)
    interactions = clean(events, users, items, schema, name="tiny")
    split = by_time(interactions)
    examples = build_examples(
        interactions,
        split,
        ["liked", "rating"],
        history_length,
        derived=("user_events", "item_mean_label", "hour"),
    )
    train = examples.train
    features = FeatureSet.adapt(train.served_columns, train.table)
    return TinyRanking(interactions, split, examples, features)


def _tables(
    rng: np.random.Generator, num_users: int, num_items: int, integers: bool
) -> tuple[pd.DataFrame, pd.DataFrame]:
    def ids(prefix: str, count: int) -> list:
        return [
            7 * i if integers else f"{prefix}é{i:02d}" for i in range(count)
        ]

    users = pd.DataFrame(
        {
            "user_id": ids("u", num_users),
            "age": rng.integers(18, 70, num_users).astype(float),
            "country": rng.choice(["de", "fr", "it"], num_users),
        }
    )
    users.loc[0, ["age", "country"]] = [np.nan, None]
    items = pd.DataFrame(
        {
            "item_id": ids("i", num_items),
            "Item title": rng.choice(["red night", "blue day", ""], num_items),
            "genres": rng.choice(["drama", "war|drama", "crime"], num_items),
            "year": rng.integers(1950, 2020, num_items).astype(float),
            # Integers that are categories.
            "shelf": rng.integers(1, 4, num_items),
        }
    )
    items.loc[1, "year"] = np.nan
    return users, items


def _events(
    rng: np.random.Generator, users: pd.DataFrame, items: pd.DataFrame
) -> pd.DataFrame:
    user, item = np.nonzero(rng.random((len(users), len(items))) < 0.8)
    count = len(user)
    return pd.DataFrame(
        {
            "user_id": users["user_id"].to_numpy()[user],
            "item_id": items["item_id"].to_numpy()[item],
            "device": rng.choice(["phone", "web", "tv"], count),
            "price": np.where(
                rng.random(count) < 0.2, np.nan, rng.normal(size=count)
            ),
            "position": rng.integers(1, 9, count).astype(float),
            "timestamp": rng.integers(0, 90 * _DAY_SECONDS, count),
            "rating": rng.integers(1, 6, count).astype(float),
        }
    )
