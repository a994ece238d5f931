"""The comparison of methods that distil retrieval models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from kd_tfrs.evaluation import paired_test
from kd_tfrs.workflow.comparison.contenders import (
    ALONE,
    TEACHER,
    Family,
)
from kd_tfrs.workflow.comparison.experiment import Comparison
from kd_tfrs.workflow.comparison.findings import (
    Row,
    Rows,
    TestArrays,
    UserTest,
    paired_row,
)
from kd_tfrs.workflow.comparison.trainings import Arrays, Trainings
from kd_tfrs.workflow.options import FlatConfig
from kd_tfrs.workflow.retrieval import measure
from kd_tfrs.workflow.retrieval.contenders import FAMILY
from kd_tfrs.workflow.retrieval.learner import Learner
from kd_tfrs.workflow.retrieval.prepare import (
    Prepared,
    prepare,
    prepare_interactions,
)
from kd_tfrs.workflow.shared_teachers import SharedTeachers

TESTED = ("ndcg@20", "recall@50")


def retrieval_teachers(
    directory: Path, config: FlatConfig, source: Path | None = None
) -> SharedTeachers:
    """The teachers of retrieval models; see `SharedTeachers`.

    Args:
        directory: holds one folder per seed.
        config: options of the comparison.
        source: finished runs, or `None`.

    Returns:
        The teachers; LightGCN teachers are shared as well.
    """
    shared = (TEACHER, "lightgcn")
    return SharedTeachers(
        directory, config, Learner, shared=shared, source=source
    )


class RetrievalTrainings(Trainings):
    """Trains retrieval models, and tests each repeat once."""

    learner_type: ClassVar[type[Learner]] = Learner

    def validate_teacher(self, learner: Learner) -> dict[str, float]:
        """See `Trainings`."""
        model, encoded = learner.load(TEACHER), learner.encoded(TEACHER)
        return measure.validate(model, encoded, learner.prepared)

    def reference(
        self, name: str, learner: Learner, validation: Mapping[str, float]
    ) -> tuple[Any, Row]:
        """See `Trainings`."""
        return learner.load(name), {"validation": validation}

    def measure(
        self, name: str, model: Any, learner: Learner
    ) -> tuple[Row, Arrays]:
        """See `Trainings`."""
        prepared: Prepared = learner.prepared
        stage = name if name in (TEACHER, ALONE) else "distilled"
        embedded = measure.embed(model, learner.encoded(stage), prepared)
        metrics, per_user = measure.quality(embedded.scorer(prepared), prepared)
        values = {metric: per_user[metric] for metric in TESTED}
        return {"metrics": metrics}, {"user": _users(prepared), **values}


class RetrievalComparison(Comparison):
    """A comparison of retrieval models; see `Comparison`."""

    family: ClassVar[Family] = FAMILY
    trainings_type: ClassVar[type[Trainings]] = RetrievalTrainings

    def shared_teachers(
        self, directory: Path, source: Path | None
    ) -> SharedTeachers:
        """See `Comparison`."""
        return retrieval_teachers(directory, self.config, source)

    def prepare(self, seed: int) -> Prepared:
        """See `Comparison`."""
        return prepare(self.config.data, self.config.evaluation, seed)

    def split_again(self, prepared: Prepared, seed: int) -> Prepared:
        """See `Comparison`."""
        return prepare_interactions(
            prepared.interactions,
            split=self.config.data.split,
            evaluation=self.config.evaluation,
            seed=seed,
        )

    def metrics(self, rows: Rows) -> dict[str, bool]:
        """See `Comparison`."""
        del rows
        return dict.fromkeys(TESTED, False)

    def user_test(self, arrays: TestArrays, *, final: bool) -> UserTest:
        """See `Comparison`."""
        del final
        return paired_over_users(arrays)

    def further(self, rows: Rows) -> dict[str, Any]:
        """Metrics among sampled negatives, if they were measured."""
        measured = rows[ALONE][0]["metrics"] if ALONE in rows else ()
        return {
            "note": "sampled_: among "
            f"{self.config.evaluation.sampled_negatives} sampled negatives per "
            "event, only for a comparison with papers that sample; such values "
            "are larger than those among all items.",
            "metrics": [n for n in measured if n.startswith("sampled_")],
        }


def paired_over_users(arrays: TestArrays) -> UserTest:
    """The paired t-test over users of their means over seeds.

    Args:
        arrays: by model and seed, "user" `[users]` and a metric `[users]`.

    Returns:
        The test.
    """

    def means(name: str, metric: str, seeds: Sequence[int]) -> np.ndarray:
        """Each user's mean over the seeds whose test has the user."""
        runs = [arrays[name][seed] for seed in seeds]
        users = np.concatenate([run["user"] for run in runs])
        values = np.concatenate([run[metric] for run in runs])
        return pd.Series(values).groupby(users).mean().to_numpy()

    def test(
        baseline: str,
        challenger: str,
        metric: str,
        seeds: Sequence[int],
        difference: float,
    ) -> Row:
        del difference  # That of the users' means.
        a, b = (means(name, metric, seeds) for name in (baseline, challenger))
        return paired_row(paired_test(a, b))

    return test


def _users(prepared: Prepared) -> np.ndarray:
    """`[users]` numbers that are the same for every split, without ids."""
    interactions = prepared.interactions
    known = np.unique(interactions.events[interactions.schema.user_id])
    return np.searchsorted(known, prepared.test.users)
