"""Baselines: popularity, and alternating least squares."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from kd_tfrs.evaluation.catalogue import CatalogueScorer
from kd_tfrs.evaluation.checks import check_k
from kd_tfrs.evaluation.ids import as_ids
from kd_tfrs.evaluation.retrieval.held_out import event_matrix


class PopularityScorer(CatalogueScorer):
    """Recommends the most popular items of the training events to all users.

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
        # All users share one row.
        super().__init__([0], np.unique(taken) if items is None else items)
        places = self._items.positions(taken)
        counts = np.bincount(places[places >= 0], minlength=len(self._items))
        self.counts = counts.astype(np.float32)

    def catalogue_scores(self, users: np.ndarray) -> np.ndarray:
        """Scores every item of the catalogue; see `CatalogueScorer`."""
        return np.tile(self.counts, (len(users), 1))

    def _places(self, queries: Any) -> np.ndarray:
        return np.zeros(len(as_ids(queries, "queries").ravel()), np.int64)


class AlsScorer(CatalogueScorer):
    """Matrix factorisation of implicit feedback by alternating least squares.

    `min sum_{u,i} c_ui (p_ui - x_u . y_i)^2 + regularization (|x|^2 + |y|^2)`,
    where p is 1 for a training event and 0 for all else, and the confidence c
    is `alpha` for an event and 1 for all else. Users without training events
    get the most popular items.

    The factorisation is that of the library implicit: pip install
    "kd_tfrs[baselines]".

    Args:
        train: training events.
        items: [num_items], distinct raw ids of the whole catalogue; the items
            of `train` by default.
        factors: width of the factors.
        regularization: at least 0.
        alpha: confidence in an event, above 1.
        iterations: passes over users and items.
        seed: of the first factors.
        user_col: name of the user column.
        item_col: name of the item column.

    Raises:
        ImportError: implicit is not installed.

    Example:
    ```python
    scorer = AlsScorer(split.train, interactions.items["item_id"])
    FullRanking(split.train, split.test, items).evaluate(scorer)
    ```

    References:
        Hu, Koren and Volinsky 2008, "Collaborative filtering for implicit
        feedback datasets".
    """

    def __init__(
        self,
        train: pd.DataFrame,
        items: Any | None = None,
        *,
        factors: int = 128,
        regularization: float = 0.01,
        alpha: float = 40.0,
        iterations: int = 15,
        seed: int = 0,
        user_col: str = "user_id",
        item_col: str = "item_id",
    ) -> None:
        check_k(factors, "factors")
        self._popularity = PopularityScorer(train, items, item_col=item_col)
        users = as_ids(train[user_col], user_col)
        taken = as_ids(train[item_col], item_col)
        super().__init__(
            np.unique(users), np.unique(taken) if items is None else items
        )
        events = event_matrix(
            self._users.positions(users),
            self._items.positions(taken),
            (len(self._users), len(self._items)),
        )
        self._user_factors, self._item_factors = _factorise(
            events,
            factors=factors,
            regularization=regularization,
            alpha=alpha,
            iterations=iterations,
            random_state=seed,
        )

    def catalogue_scores(self, users: np.ndarray) -> np.ndarray:
        """Scores every item of the catalogue; see `CatalogueScorer`."""
        scores = self._user_factors[users] @ self._item_factors.T
        scores[users < 0] = self._popularity.counts
        return scores


def _factorise(
    events: sp.csr_matrix, **options: Any
) -> tuple[np.ndarray, np.ndarray]:
    """[users, factors] and [items, factors] of implicit's ALS."""
    try:
        from implicit.als import AlternatingLeastSquares
        from threadpoolctl import threadpool_limits
    except ImportError as error:
        raise ImportError(
            "The ALS baseline needs the library implicit. Install it with: "
            'pip install "kd_tfrs[baselines]".'
        ) from error
    # implicit has threads of its own, which the threads of BLAS slow down.
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(use_gpu=False, **options)
        model.fit(events, show_progress=False)
    return np.asarray(model.user_factors), np.asarray(model.item_factors)
