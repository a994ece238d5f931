"""The protocol of impressions: every model scores the same rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.checks import checked_ks
from kd_tfrs.evaluation.ranking import calibration, metrics
from kd_tfrs.evaluation.ranking.bootstrap import (
    paired_user_bootstrap,
    user_bootstrap,
)
from kd_tfrs.evaluation.ranking.grouped_metrics import (
    PerUser,
    check_grades,
    gauc,
    user_ndcg,
)
from kd_tfrs.evaluation.ranking.scored_rows import (
    ScoredRows,
    check_binary,
    checked_weights,
    finite_column,
    user_places,
)
from kd_tfrs.evaluation.ranking.statistics import Statistic, value_of
from kd_tfrs.evaluation.significance import Interval, PairedBootstrap

KINDS = ("binary", "rating")


@dataclass(frozen=True, eq=False)
class RankingResult:
    """Result of an evaluation.

    Args:
        metrics: by name, such as "auc", and in slices such as
            "auc[new_users]"; None where it is undefined.
        per_user: values of the users with a value, for the metrics that are
            means over users ("gauc", "ndcg@10"). The labels alone define
            these users, so that they are the same for all models.
        users: raw ids of these users, ascending, by the same names.
        left_out: number of users without a value, by the same names.
        num_users: number of users with a row; None without groups.
        num_rows: number of rows by slice; "" stands for all rows.
        seconds: duration of the evaluation.

    Example:
    ```python
    result.metrics["auc[new_users]"], result.num_rows["new_users"]
    ```
    """

    metrics: dict[str, float | None]
    per_user: dict[str, np.ndarray]
    users: dict[str, np.ndarray]
    left_out: dict[str, int]
    num_users: int | None
    num_rows: dict[str, int]
    seconds: float


class RankingEvaluation:
    """Measures scores of impressions, overall and in slices.

    The metrics of kind "binary" are auc, gauc, log_loss, accuracy, precision,
    recall, f1, pr_auc, ece, ece_equal_mass, predicted_over_observed and
    ndcg@k. Those of kind "rating" are rmse, mae and ndcg@k. Metrics by user
    (gauc, ndcg@k) need `groups`.

    Args:
        labels: [n], 0 or 1, or ratings.
        groups: [n], user ids; without them there are no metrics by user.
        weights: [n], at least 0; a row of weight 0 is left out.
        slices: boolean masks [n] by name, such as "new_users", "new_items",
            "head" and "tail".
        kind: "binary" or "rating".
        ks: lengths of the lists for NDCG; empty for no NDCG.
        threshold: least probability of a positive decision, for accuracy,
            precision, recall and F1.
        bins: number of bins of the calibration error.
        gain: of NDCG, "exponential" or "linear".

    Raises:
        UserError: shapes that do not fit, labels that do not fit the kind, or
            settings out of range.

    Example:
    >>> evaluation = RankingEvaluation(
    ...     [1, 0, 1], groups=["a", "a", "b"],
    ...     slices={"new_users": [False, False, True]})
    >>> metrics = evaluation.evaluate([2.0, 1.0, 0.0]).metrics
    >>> metrics["auc"], metrics["gauc"], metrics["auc[new_users]"]
    (0.5, 1.0, None)
    """

    def __init__(
        self,
        labels: Any,
        groups: Any = None,
        weights: Any = None,
        slices: Mapping[str, Any] | None = None,
        kind: str = "binary",
        *,
        ks: Sequence[int] = (5, 10),
        threshold: float = 0.5,
        bins: int = 15,
        gain: str = "exponential",
    ) -> None:
        if kind not in KINDS:
            raise UserError(
                f"`kind` should be one of {list(KINDS)}. Received: {kind!r}. "
                "Take 'binary' for labels of 0 and 1."
            )
        labels = finite_column(labels, "labels")
        weights = checked_weights(weights, len(labels))
        self._present = weights > 0
        places, self._users = user_places(groups, self._present)
        # The zeros are replaced by the scores of a model.
        self._rows = ScoredRows(
            labels, np.zeros(len(labels)), weights, places, len(self._users)
        ).take(self._present)
        self._slices = {
            name: _mask(mask, name, len(labels))[self._present]
            for name, mask in (slices or {}).items()
        }
        self._grouped = groups is not None
        ks = checked_ks(ks, max(ks)) if self._grouped and len(ks) else ()
        self._pooled = pooled_metrics(kind, threshold, bins)
        self._by_user = user_metrics(kind, ks, gain) if self._grouped else {}
        self._check(kind, gain if ks else None)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the metrics that are measured."""
        return (*self._pooled, *self._by_user)

    def evaluate(self, scores: Any, *, fast: bool = False) -> RankingResult:
        """Measures a model.

        Args:
            scores: [n], finite: logits of kind "binary", else ratings.
            fast: leaves out slices, for validation while training.

        Returns:
            The metrics; see `RankingResult`.

        Raises:
            UserError: scores that do not fit the rows, or are not finite.
        """
        start = time.perf_counter()
        rows = self._scored(scores)
        values, per_user = self._measured(rows)
        num_rows = {"": len(rows.labels)}
        for name, mask in ({} if fast else self._slices).items():
            part, _ = self._measured(rows.take(mask))
            values |= {f"{key}[{name}]": v for key, v in part.items()}
            num_rows[name] = int(mask.sum())
        return RankingResult(
            values,
            {name: metric.values for name, metric in per_user.items()},
            {n: self._users[m.places] for n, m in per_user.items()},
            {name: metric.left_out for name, metric in per_user.items()},
            len(self._users) if self._grouped else None,
            num_rows,
            time.perf_counter() - start,
        )

    def interval(self, name: str, scores: Any, **options: Any) -> Interval:
        """Interval of a metric over resampled users.

        Args:
            name: name of the metric as in the result, such as "auc" or
                "auc[new_users]".
            scores: [n], as for `evaluate`.
            **options: `num_resamples`, `level` and `seed` of
                `user_bootstrap`.

        Returns:
            Value and interval; see `user_bootstrap`.

        Raises:
            UserError: no groups, an unknown name, or settings out of range.
        """
        statistic = self._statistic(name, scores)
        return user_bootstrap(statistic, len(self._users), **options)

    def compare(
        self, name: str, scores_a: Any, scores_b: Any, **options: Any
    ) -> PairedBootstrap:
        """Difference of two models on the same resampled users.

        Args:
            name: name of the metric, as for `interval`.
            scores_a: [n], of the baseline.
            scores_b: [n], of the challenger.
            **options: as for `interval`.

        Returns:
            The result; see `paired_user_bootstrap`.

        Raises:
            UserError: no groups, an unknown name, or settings out of range.
        """
        return paired_user_bootstrap(
            self._statistic(name, scores_a),
            self._statistic(name, scores_b),
            len(self._users),
            **options,
        )

    def _check(self, kind: str, gain: str | None) -> None:
        """Raises for wrong labels and settings before a model is measured."""
        if kind == "binary":
            check_binary(self._rows)
        if gain is not None:
            check_grades(self._rows.labels, gain)
        self._measured(self._rows.take(slice(0)))

    def _scored(self, scores: Any) -> ScoredRows:
        """The rows with the scores of a model."""
        scores = finite_column(scores, "scores", len(self._present))
        return replace(self._rows, scores=scores[self._present])

    def _measured(
        self, rows: ScoredRows
    ) -> tuple[dict[str, float | None], dict[str, PerUser]]:
        """All metrics of some rows, and the metrics by user."""
        values = {
            name: value_of(metric(rows), rows.num_users)
            for name, metric in self._pooled.items()
        }
        per_user = {name: of(rows) for name, of in self._by_user.items()}
        means = {name: m.mean().value for name, m in per_user.items()}
        return values | means, per_user

    def _statistic(self, name: str, scores: Any) -> Statistic:
        """The statistic of a metric, of all rows or of a slice."""
        key, _, inside = name.partition("[")
        part = inside.removesuffix("]")
        if key not in self.names or (inside and part not in self._slices):
            raise UserError(
                f"`name` should be one of {list(self.names)}, of a slice with "
                f"its name in brackets. Received: {name!r}. Slices: "
                f"{list(self._slices)}."
            )
        if not self._grouped:
            raise UserError(
                "Users can be drawn where rows have users. Received: no "
                "`groups`. Give the user id of each row."
            )
        rows = self._scored(scores)
        rows = rows.take(self._slices[part]) if inside else rows
        if key in self._pooled:
            return self._pooled[key](rows)
        return self._by_user[key](rows).statistic()


def pooled_metrics(
    kind: str, threshold: float = 0.5, bins: int = 15
) -> dict[str, Callable[[ScoredRows], Statistic]]:
    """Metrics of all rows together.

    Args:
        kind: "binary" or "rating".
        threshold: least probability of a positive decision.
        bins: number of bins of the calibration error.

    Returns:
        Functions from rows to a statistic, by name.

    Example:
    >>> list(pooled_metrics("rating"))
    ['rmse', 'mae']
    """
    if kind == "rating":
        return {
            "rmse": metrics.rmse.statistic,
            "mae": metrics.mae.statistic,
        }
    decisions = {
        metric.__name__: partial(metric.statistic, threshold=threshold)
        for metric in (
            metrics.accuracy,
            metrics.precision,
            metrics.recall,
            metrics.f1,
        )
    }
    error = partial(calibration.calibration_error.statistic, bins=bins)
    return {
        "auc": metrics.auc.statistic,
        "log_loss": metrics.log_loss.statistic,
        **decisions,
        "pr_auc": metrics.average_precision.statistic,
        "ece": error,
        "ece_equal_mass": partial(error, equal_mass=True),
        "predicted_over_observed": (
            calibration.predicted_over_observed.statistic
        ),
    }


def user_metrics(
    kind: str, ks: Sequence[int], gain: str = "exponential"
) -> dict[str, Callable[[ScoredRows], PerUser]]:
    """Metrics that are means over users.

    Args:
        kind: "binary" or "rating".
        ks: lengths of the lists for NDCG.
        gain: of NDCG, "exponential" or "linear".

    Returns:
        Functions from rows to the values of the users, by name.

    Example:
    >>> list(user_metrics("binary", [10]))
    ['gauc', 'ndcg@10']
    """
    lists = {
        f"ndcg@{k}": partial(user_ndcg.per_user, k=k, gain=gain) for k in ks
    }
    return {"gauc": gauc.per_user, **lists} if kind == "binary" else lists


def _mask(mask: Any, name: str, length: int) -> np.ndarray:
    array = np.asarray(mask)
    if array.dtype != bool or array.shape != (length,):
        raise UserError(
            f"`slices` should be boolean masks of shape [{length}]. Received: "
            f"{name!r} of dtype {array.dtype} and shape {list(array.shape)}. "
            "Compare the column of the rows, such as events < 5."
        )
    return array
