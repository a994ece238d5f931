"""Protocols on held-out events, for validation and for test."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from kd_tfrs.data import Encoding, Schema, Split
from kd_tfrs.data.catalogue import Catalogue
from kd_tfrs.evaluation.retrieval import FullRanking, SampledRanking

_SEED = 20


def for_validation(
    split: Split, catalogue: Catalogue, max_users: int
) -> FullRanking:
    """Ranks the catalogue for validation users, test events left out.

    Args:
        split: the parts of the data.
        catalogue: what may be recommended.
        max_users: users ranked at most; the same ones in every run.

    Returns:
        The protocol to tune on.
    """
    events = _some_users(split.validation, catalogue.user_column, max_users)
    return FullRanking(
        split.train, events, exclude=split.test, **_columns(catalogue)
    )


def for_test(split: Split, catalogue: Catalogue, schema: Schema) -> FullRanking:
    """Ranks the catalogue for test users, validation events left out."""
    return FullRanking(
        split.train,
        split.test,
        exclude=split.validation,
        item_vectors=_item_vectors(schema, catalogue),
        **_columns(catalogue),
    )


def for_sampled_test(
    split: Split, catalogue: Catalogue, num_negatives: int
) -> SampledRanking | None:
    """Ranks each test item among random ones, as some papers do.

    Args:
        split: the parts of the data.
        catalogue: where negatives come from.
        num_negatives: for each test item; 0 for no such protocol.

    Returns:
        The protocol, or `None`.
    """
    if not num_negatives:
        return None
    return SampledRanking(
        split.train,
        split.test,
        exclude=split.validation,
        num_negatives=num_negatives,
        seed=_SEED,
        **_columns(catalogue),
    )


def _columns(catalogue: Catalogue) -> dict[str, Any]:
    """What all protocols are given of the catalogue."""
    return {
        "items": catalogue.item_ids,
        "user_col": catalogue.user_column,
        "item_col": catalogue.item_column,
    }


def _some_users(
    events: pd.DataFrame, user_column: str, limit: int
) -> pd.DataFrame:
    users = np.unique(events[user_column].to_numpy())
    if len(users) <= limit:
        return events
    rng = np.random.default_rng(_SEED)
    chosen = rng.choice(users, limit, replace=False)
    return events[events[user_column].isin(chosen)]


def _item_vectors(schema: Schema, catalogue: Catalogue) -> np.ndarray | None:
    """Multi-hot categories of the items, for diversity; else co-occurrence."""
    for column in schema.item_features:
        listed = column.encoding is Encoding.CATEGORIES
        if listed and column.name in catalogue.items.columns:
            values = catalogue.items[column.name].fillna("")
            return values.str.get_dummies(column.separator).to_numpy(np.float32)
    return None
