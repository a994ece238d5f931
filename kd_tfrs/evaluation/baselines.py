"""Rows that a model has to beat: popularity, and alternating least squares."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from kd_tfrs.evaluation.catalogue import CatalogueScorer
from kd_tfrs.evaluation.ids import as_ids


class PopularityScorer(CatalogueScorer):
    """Recommends to everyone what most users of the training events took.

    `score(u, i) = number of training events of i`

    Args:
        train: training events.
        items: [num_items], distinct raw ids of the whole catalogue; the items
            of `train` by default.
        item_col: name of the item column.

    Example:
    >>> train = pd.DataFrame({"user_id": [1, 2, 2], "item_id": [7, 7, 8]})
    >>> PopularityScorer(train).recommend([3], k=2)[0].tolist()
    [[7, 8]]
    """

    def __init__(
        self,
        train: pd.DataFrame,
        items: Any | None = None,
        *,
        item_col: str = "item_id",
    ) -> None:
        taken = as_ids(train[item_col], item_col)
        # Nobody is known: every user is asked for by the same row.
        super().__init__([0], np.unique(taken) if items is None else items)
        places = self._items.positions(taken)
        counts = np.bincount(places[places >= 0], minlength=len(self._items))
        self.counts = counts.astype(np.float32)

    def catalogue_scores(self, users: np.ndarray) -> np.ndarray:
        """Scores every item of the catalogue; see `CatalogueScorer`."""
        return np.tile(self.counts, (len(users), 1))

    def _places(self, queries: Any) -> np.ndarray:
        return np.zeros(len(as_ids(queries, "queries").ravel()), np.int64)
