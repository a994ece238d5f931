"""The sampled protocol, for comparison with papers that use it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.checks import check_k, checked_ks
from kd_tfrs.evaluation.retrieval.held_out import HeldOut
from kd_tfrs.evaluation.retrieval.protocol import Result, accuracy
from kd_tfrs.evaluation.retrieval.scorers import Scorer


class SampledRanking:
    """Ranks each held-out item among items without events of its user.

    Use it only for comparison with papers: sampled metrics are too high. The
    negatives are drawn once, uniformly and without replacement. Of equal
    scores, the smaller item id comes first. A user with several held-out
    events counts once, with their mean. A held-out item outside of the
    catalogue counts as missed, as in `FullRanking`.

    Args:
        train: training events.
        held_out: held-out events.
        items: [num_items], raw ids of the catalogue.
        exclude: further events that give no negatives for their users: a
            frame or several.
        num_negatives: negatives for each held-out event.
        seed: of the draw.
        ks: lengths of the lists.
        user_col: name of the user column.
        item_col: name of the item column.

    Raises:
        UserError: no held-out item is in the catalogue, or a user has too
            few items without events.

    Example:
    ```python
    protocol = SampledRanking(train, test, items, num_negatives=499, seed=0)
    protocol.evaluate(scorer).metrics["hit_rate@10"]
    ```
    """

    def __init__(
        self,
        train: pd.DataFrame,
        held_out: pd.DataFrame,
        items: Any,
        *,
        exclude: pd.DataFrame | Sequence[pd.DataFrame] | None = None,
        num_negatives: int = 499,
        seed: int = 0,
        ks: Sequence[int] = (5, 10),
        user_col: str = "user_id",
        item_col: str = "item_id",
    ) -> None:
        check_k(num_negatives, "num_negatives")
        self.ks = checked_ks(ks, num_negatives + 1)
        self._data = HeldOut(
            train, held_out, items, exclude, user_col, item_col
        )
        self._rows, positives = self._data.events()
        if not len(self._rows):
            raise UserError(
                "Sampled ranking needs held-out items of the catalogue. "
                f"Received: {len(held_out)} events, all of other items. Give "
                "`items` all items of the model."
            )
        negatives = self._data.unseen(self._rows, num_negatives, seed)
        self._candidates = np.column_stack([positives, negatives])

    def evaluate(self, scorer: Scorer) -> Result:
        """Measures a scorer.

        Args:
            scorer: the scorer to measure.

        Returns:
            Recall, hit rate, precision, F1 and NDCG at each k, MRR and MAP;
            see `Result`.
        """
        start = time.perf_counter()
        users = self._data.users
        ids = self._data.catalogue.ids[self._candidates]
        scores = scorer.score(users[self._rows], ids)
        ranks = self._ranks(scores)
        hits = ranks[:, None] == np.arange(1, self._candidates.shape[1] + 1)
        ones = np.ones(len(hits), np.int64)
        per_event = accuracy(hits, ones, self.ks)
        events = self._data.relevant
        per_user = {
            name: np.bincount(self._rows, values, len(users)) / events
            for name, values in per_event.items()
        }
        means = {name: float(v.mean()) for name, v in per_user.items()}
        seconds = time.perf_counter() - start
        return Result(means, per_user, users, seconds)

    def _ranks(self, scores: np.ndarray) -> np.ndarray:
        """[events] rank of the first candidate, 1 is best."""
        positive, negatives = scores[:, :1], scores[:, 1:]
        first = self._candidates[:, 1:] < self._candidates[:, :1]
        ahead = (negatives > positive) | ((negatives == positive) & first)
        return 1 + ahead.sum(axis=1)
