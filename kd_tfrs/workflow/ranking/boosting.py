"""Gradient-boosted trees on the features of the teachers, to hold them to."""

from __future__ import annotations

import itertools
import logging
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from kd_tfrs.models.ranking import RankingTask
from kd_tfrs.workflow.ranking.matrix import Matrix, as_matrix
from kd_tfrs.workflow.ranking.measure import Logits
from kd_tfrs.workflow.ranking.prepare import Inputs, RankingPrepared

logger = logging.getLogger(__name__)
_ROUNDS = 2000
_PATIENCE = 50
_FEW_ROWS = 20_000
_OBJECTIVES = {"binary": "binary", "rating": "regression"}
_METRICS = {
    "auc": "auc",
    "gauc": "auc",
    "log_loss": "binary_logloss",
    "rmse": "rmse",
    "mae": "l1",
}
_PARAMETERS = {
    "learning_rate": 0.05,
    "min_data_in_leaf": 20,
    "feature_fraction": 0.8,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 1.0,
    "deterministic": True,
    "force_row_wise": True,
    "verbose": -1,
}
# Ids may overfit the training examples: validation decides on them.
_GRID = {"num_leaves": (15, 63), "with_ids": (True, False)}


class BoostedTrees:
    """LightGBM, a booster for each task, tuned lightly on validation.

    Of each of four settings (few or many leaves, with or without ids) the
    rounds are stopped early on the validation examples, and the best one by
    the same metric is kept.

    Args:
        prepared: data and tasks.
        inputs: the features, those of the teachers.
        monitor: the metric of the first task that decides; the others go by
            log loss or RMSE.
        seed: of the draws of rows and columns.

    Raises:
        ImportError: LightGBM is missing.

    Example:
    ```python
    trees = BoostedTrees(prepared, inputs, "auc", seed=0)
    trees.logits("test")["liked"]
    ```
    """

    def __init__(
        self,
        prepared: RankingPrepared,
        inputs: Inputs,
        monitor: str,
        seed: int = 0,
    ) -> None:
        self._library = require_lightgbm()
        self._prepared = prepared
        self._inputs = inputs
        train = as_matrix(prepared, inputs, "train")
        held_out = as_matrix(
            prepared, inputs, "validation", prepared.validation_rows
        )
        self.boosters = {}
        for task in prepared.tasks:
            metric = "log_loss" if task.kind == "binary" else "rmse"
            metric = monitor if task is prepared.task else metric
            self.boosters[task.name] = self._tune(
                task, _METRICS[metric], (train, held_out), seed
            )

    def logits(self, part: str, rows: np.ndarray | None = None) -> Logits:
        """Raw scores of rows.

        Args:
            part: "train", "validation" or "test".
            rows: which; all when `None`.

        Returns:
            `[rows]` float32 by task: logits or ratings.
        """
        return self.score(as_matrix(self._prepared, self._inputs, part, rows))

    def score(self, matrix: Matrix) -> Logits:
        """Raw scores of a matrix.

        Args:
            matrix: see `as_matrix`.

        Returns:
            `[rows]` float32 by task.
        """
        found = {}
        for name, booster in self.boosters.items():
            mine = matrix
            if booster.num_feature() < len(matrix.names):
                mine = matrix.without_ids()
            scores = booster.predict(
                mine.cells,
                raw_score=True,
                num_threads=_threads(len(mine.cells)),
            )
            found[name] = np.float32(scores)
        return found

    def save(self, directory: Path) -> int:
        """Writes a text file a task."""
        directory.mkdir(parents=True, exist_ok=True)
        count = 0
        for name, booster in self.boosters.items():
            text = booster.model_to_string()
            (directory / f"{name}.txt").write_text(text, encoding="utf-8")
            leaves = map(int, re.findall(r"^num_leaves=(\d+)", text, re.M))
            count += sum(2 * number - 1 for number in leaves)
        return count

    def _tune(
        self,
        task: RankingTask,
        metric: str,
        matrices: tuple[Matrix, Matrix],
        seed: int,
    ) -> Any:
        found = {}
        for leaves, with_ids in itertools.product(*_GRID.values()):
            chosen = [m if with_ids else m.without_ids() for m in matrices]
            if not chosen[0].names:
                continue
            booster = self._fit(task, metric, chosen, leaves, seed)
            value = booster.best_score["validation"][metric]
            found[booster] = value if metric == "auc" else -value
            logger.info(
                "lightgbm %s: %d leaves, ids %s: %s %.5f after %d rounds",
                *(task.name, leaves, with_ids, metric, value),
                booster.best_iteration,
            )
        return max(found, key=found.get)

    def _fit(
        self,
        task: RankingTask,
        metric: str,
        matrices: list[Matrix],
        leaves: int,
        seed: int,
    ) -> Any:
        prepared = self._prepared
        parts = (
            prepared.split.train,
            prepared.split.validation.take(prepared.validation_rows),
        )
        sets = []
        for matrix, part in zip(matrices, parts, strict=True):
            known = ~np.isnan(part.labels[task.name])
            sets.append(
                self._library.Dataset(
                    matrix.cells[known],
                    part.labels[task.name][known],
                    weight=part.weights[known],
                    feature_name=list(matrix.names),
                    categorical_feature=list(matrix.categories),
                    reference=sets[0] if sets else None,
                    params={"verbose": -1},
                )
            )
        return self._library.train(
            {
                **_PARAMETERS,
                "objective": _OBJECTIVES[task.kind],
                "metric": metric,
                "num_leaves": leaves,
                "seed": seed,
                "num_threads": _threads(len(parts[0])),
            },
            sets[0],
            _ROUNDS,
            valid_sets=[sets[1]],
            valid_names=["validation"],
            callbacks=[self._library.early_stopping(_PATIENCE, verbose=False)],
        )


def require_lightgbm() -> Any:
    """The package, or what to do about it.

    Raises:
        ImportError: it is missing.
    """
    try:
        import lightgbm
    except ImportError:
        raise ImportError(
            "The stage lightgbm needs the package lightgbm. Install it with "
            "pip install 'kd_tfrs[baselines]', or leave it out with "
            "--noeval_baselines."
        ) from None
    return lightgbm


def _threads(rows: int) -> int:
    """One for few rows: threads would wait for each other at every leaf."""
    return 1 if rows < _FEW_ROWS else len(os.sched_getaffinity(0))
