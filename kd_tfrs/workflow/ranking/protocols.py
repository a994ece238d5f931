"""Protocols on held-out examples, for validation and for test."""

from __future__ import annotations

from typing import Any

import numpy as np

from kd_tfrs.data.ranking import Examples, ExampleSplit
from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.catalogue import head_items
from kd_tfrs.evaluation.ranking import RankingEvaluation
from kd_tfrs.models.ranking import RankingTask


def for_validation(
    split: ExampleSplit, task: RankingTask, rows: np.ndarray
) -> RankingEvaluation:
    """Measures a task on validation examples, without slices.

    Raises:
        UserError: there is one class only, or no label.
    """
    examples = split.validation.take(rows)
    _require_labels(examples, task, "validation")
    if task.kind == "binary" and len(np.unique(_labels(examples, task))) < 2:
        raise UserError(
            f"The validation examples should have both classes of {task.name}. "
            f"Received: {len(examples)} examples of one class. Take more data "
            "or another split."
        )
    return _evaluation(examples, task)


def for_test(split: ExampleSplit, task: RankingTask) -> RankingEvaluation:
    """Measures a task on test examples, in all and in slices.

    Raises:
        UserError: there is no label.
    """
    _require_labels(split.test, task, "test")
    return _evaluation(split.test, task, slices(split.train, split.test))


def slices(train: Examples, held_out: Examples) -> dict[str, np.ndarray]:
    """New users and items, and popular items, by training examples.

    Args:
        train: what counts.
        held_out: `[n]` examples.

    Returns:
        Masks `[n]` of the slices that are neither empty nor all: "new_users"
        and "new_items" have no training example; "head" are the items that
        80 % of the training examples are of, "tail" the others that have
        some.
    """
    found = {}
    if train.groups is not None:
        found["new_users"] = ~np.isin(held_out.groups, train.groups)
    if train.items is not None:
        items, counts = np.unique(train.items, return_counts=True)
        head = items[head_items(counts)[: len(items)]]
        found["new_items"] = ~np.isin(held_out.items, items)
        found["head"] = np.isin(held_out.items, head)
        found["tail"] = ~(found["head"] | found["new_items"])
    return {
        name: mask
        for name, mask in found.items()
        if mask.any() and not mask.all()
    }


def _labels(examples: Examples, task: RankingTask) -> np.ndarray:
    labels = examples.labels[task.name]
    return labels[~np.isnan(labels) & (examples.weights > 0)]


def _require_labels(examples: Examples, task: RankingTask, part: str) -> None:
    if not len(_labels(examples, task)):
        raise UserError(
            f"The {part} examples should have labels of {task.name}. Received: "
            f"{len(examples)} examples without one. Take more data or another "
            "split, or leave the task out."
        )


def _evaluation(
    examples: Examples, task: RankingTask, masks: Any = None
) -> RankingEvaluation:
    labels = examples.labels[task.name]
    known = ~np.isnan(labels)
    # A row without the label stays, so that scores have one place a row.
    weights = np.where(known, examples.weights, 0.0)
    labels = np.where(known, labels, 0.0)
    # Gains are of grades from 0 up; any number may be a rating.
    ks = (5, 10) if labels.min(initial=0.0) >= 0 else ()
    gain = "exponential" if task.kind == "binary" else "linear"
    return RankingEvaluation(
        labels, examples.groups, weights, masks, task.kind, ks=ks, gain=gain
    )
