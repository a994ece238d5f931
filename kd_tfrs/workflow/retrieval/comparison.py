"""The comparison of methods that distil retrieval models."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from kd_tfrs.evaluation import paired_test
from kd_tfrs.models.retrieval import RetrievalModel
from kd_tfrs.workflow.comparison.contenders import (
    ALONE,
    DISTILLED,
    TEACHER,
    Contender,
    Family,
    tuned_contender,
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
from kd_tfrs.workflow.compression_options import stored_as
from kd_tfrs.workflow.options import FlatConfig
from kd_tfrs.workflow.retrieval import measure
from kd_tfrs.workflow.retrieval.auto_method import resolve_auto
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
        if not isinstance(model, tuple):
            stage = name if name in (TEACHER, ALONE) else DISTILLED
            encoded = learner.encoded(stage)
            size = measure.parameters(model)
            model = measure.embed(model, encoded, prepared), size
        embedded, size = model
        metrics, per_user = measure.quality(embedded.scorer(prepared), prepared)
        values = {metric: per_user[metric] for metric in TESTED}
        row = {"metrics": metrics, **size}
        return row, {"user": _users(prepared), **values}

    def int8(
        self, model: RetrievalModel, learner: Learner
    ) -> tuple[measure.Embedded, dict[str, int]]:
        """The tables of a model as they come back from 8 bits, and its size."""
        encoded, storage = (
            learner.encoded("pruned"),
            stored_as("pruned_int8")[1],
        )
        embedded = measure.embed(model, encoded, learner.prepared)
        size = {"size_bytes": embedded.model_bytes(storage)}
        return embedded.stored(storage), {**measure.parameters(model), **size}


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

    def tuned(self, stage: str) -> Contender:
        """See `Comparison`; a search needs a method instead of "auto"."""
        num_items = self.prepared(self.config.seed).catalogue.num_items
        options, _ = resolve_auto(self.config.distillation, num_items)
        config = dataclasses.replace(self.config, distillation=options)
        return tuned_contender(stage, config, self.family)

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
