"""The protocols of retrieval: full ranking, and sampled negatives."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.catalogue import head_items
from kd_tfrs.evaluation.checks import check_k, checked_ks
from kd_tfrs.evaluation.retrieval import list_metrics, metrics
from kd_tfrs.evaluation.retrieval.held_out import HeldOut
from kd_tfrs.evaluation.retrieval.scorers import Scorer

DEFAULT_KS = (5, 10, 20, 50)
# Additions up to which diversity is exact; about a second.
_EXACT_DIVERSITY = 10**8


@dataclass(frozen=True, eq=False)
class Result:
    """Result of an evaluation.

    Args:
        metrics: means by name, such as "recall@10"; None for a slice
            without users.
        per_user: [users] values by name, for the metrics that are means over
            users.
        users: [users], raw ids in ascending order; the order of `per_user`.
        seconds: duration of the evaluation.

    Example:
    >>> Result({"recall@10": 0.5}).metrics["recall@10"]
    0.5
    """

    metrics: dict[str, float | None]
    per_user: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    users: np.ndarray | None = field(default=None, repr=False)
    seconds: float = 0.0


class FullRanking:
    """Ranks the whole catalogue for every user with held-out events.

    A user's training items, and those of `exclude`, are left out. Held-out
    items that are not in the catalogue count as relevant and are never hit.
    Everything that does not depend on the scorer is prepared once.

    Args:
        train: training events.
        held_out: held-out events.
        items: [num_items], raw ids of the catalogue.
        exclude: further events to leave out, such as the other held-out part:
            a frame or several.
        ks: lengths of the lists.
        depth: length of the ranking for MRR and MAP, at least `max(ks)`.
        user_col: name of the user column.
        item_col: name of the item column.
        item_vectors: [num_items, dim] in the order of `items`, dense or
            sparse, for diversity (such as genres); by default the users
            of the item in `train`, sketched where the data are large.
        new_user_events: a user with at most this number of training events is
            new.

    Raises:
        UserError: no held-out events, lists longer than the depth, or an
            event that is held out and excluded at once.

    Example:
    ```python
    protocol = FullRanking(split.train, split.test, items.item_id,
                           exclude=split.validation)
    protocol.evaluate(scorer).metrics["recall@10"]
    ```
    """

    def __init__(
        self,
        train: pd.DataFrame,
        held_out: pd.DataFrame,
        items: Any,
        *,
        exclude: pd.DataFrame | Sequence[pd.DataFrame] | None = None,
        ks: Sequence[int] = DEFAULT_KS,
        depth: int = 100,
        user_col: str = "user_id",
        item_col: str = "item_id",
        item_vectors: Any | None = None,
        new_user_events: int = 5,
    ) -> None:
        self.ks = checked_ks(ks, depth)
        self.depth = depth
        self._data = HeldOut(
            train, held_out, items, exclude, user_col, item_col
        )
        self._in_head = head_items(self._data.item_counts)
        self._is_new = self._data.user_counts <= new_user_events
        self._vectors = self._unit_vectors(item_vectors)
        self._surprise = list_metrics.self_information(self._data.item_counts)

    @property
    def users(self) -> np.ndarray:
        """[users] raw ids of the evaluated users, ascending."""
        return self._data.users

    def evaluate(self, scorer: Scorer, *, fast: bool = False) -> Result:
        """Measures a scorer.

        Args:
            scorer: the scorer to measure.
            fast: computes accuracy only, for validation while training: no
                slices, coverage, diversity, novelty, popularity or Gini.

        Returns:
            The metrics; see `Result`.

        Raises:
            UserError: a scorer that recommends excluded or unknown items, or
                the same item twice.
        """
        start = time.perf_counter()
        data = self._data
        ids, scores = scorer.recommend(data.users, self.depth, data.exclusions)
        ranked = data.ranked(ids, scores)
        hits = data.hits(ranked)
        per_user = _accuracy(hits, data.relevant, self.ks)
        if not fast:
            per_user |= self._list_metrics(ranked)
        means = {name: float(v.mean()) for name, v in per_user.items()}
        if not fast:
            means |= self._whole_metrics(ranked)
            means |= self._slices(ranked, hits)
        seconds = time.perf_counter() - start
        return Result(means, per_user, data.users, seconds)

    def _list_metrics(self, ranked: np.ndarray) -> dict[str, np.ndarray]:
        """[users] diversity, novelty and average popularity of the lists."""
        counts = self._data.item_counts
        per_user = {}
        for k in self.ks:
            per_user |= {
                f"diversity@{k}": list_metrics.diversity_at_k(
                    self._vectors, ranked, k
                ),
                f"novelty@{k}": list_metrics.mean_at_k(
                    self._surprise, ranked, k
                ),
                f"popularity@{k}": list_metrics.mean_at_k(counts, ranked, k),
            }
        return per_user

    def _whole_metrics(self, ranked: np.ndarray) -> dict[str, float]:
        """Coverage and Gini, which are metrics of all lists together."""
        size = len(self._data.catalogue)
        means = {}
        for k in self.ks:
            means |= {
                f"coverage@{k}": list_metrics.coverage_at_k(ranked, size, k),
                f"gini@{k}": list_metrics.gini_at_k(ranked, size, k),
            }
        return means

    def _slices(
        self, ranked: np.ndarray, hits: np.ndarray
    ) -> dict[str, float | None]:
        """Recall of new users, and of the items outside the head."""
        data = self._data
        tail_hits = hits & ~self._in_head[ranked]
        in_tail = data.count_relevant(~self._in_head)
        has_tail = in_tail > 0
        slices = {
            "new_users": (hits[self._is_new], data.relevant[self._is_new]),
            "long_tail": (tail_hits[has_tail], in_tail[has_tail]),
        }
        return {
            f"recall@{k}[{name}]": _mean(metrics.recall_at_k(*part, k))
            for name, part in slices.items()
            for k in self.ks
        }

    def _taken_vectors(self) -> sp.csr_matrix:
        """Users of each item as unit vectors, sketched where data are large."""
        # The estimated cost is the cost of lists of the most popular items.
        vectors = list_metrics.unit_rows(self._data.taken_by)
        popular = np.sort(self._data.item_counts)[-max(self.ks) :]
        if len(self.users) * popular.sum() > _EXACT_DIVERSITY:
            vectors = list_metrics.sketch_columns(vectors)
        return vectors

    def _unit_vectors(self, given: Any | None) -> Any:
        """Rows of length 1 in catalogue order, for diversity."""
        if given is None:
            return self._taken_vectors()
        is_sparse = sp.issparse(given)
        given = sp.csr_matrix(given) if is_sparse else np.asarray(given)
        if given.ndim != 2 or given.shape[0] != len(self._data.catalogue):
            raise UserError(
                "`item_vectors` should have one row for each item, "
                f"{len(self._data.catalogue)}. Received: shape "
                f"{list(given.shape)}. Give the rows in the order of `items`."
            )
        return list_metrics.unit_rows(given[self._data.catalogue.order])


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
        per_event = _accuracy(hits, ones, self.ks)
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


def _accuracy(
    hits: np.ndarray, relevant: np.ndarray, ks: Sequence[int]
) -> dict[str, np.ndarray]:
    """All accuracy metrics of a matrix of hits, `[users]` by name."""
    per_user = {
        f"{name}@{k}": metric(hits, relevant, k)
        for k in ks
        for name, metric in metrics.AT_K.items()
    }
    per_user["mrr"] = metrics.reciprocal_rank(hits)
    per_user["map"] = metrics.average_precision(hits, relevant)
    return per_user


def _mean(values: np.ndarray) -> float | None:
    """The mean; None for no values."""
    return float(values.mean()) if len(values) else None
