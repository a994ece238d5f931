"""What the pairs say about each other: tests, and the same lists exported."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from kd_tfrs.evaluation.significance import holm, paired_test
from kd_tfrs.workflow.pipeline.stages import PipelineStages

TESTED = ("ndcg@10", "recall@10")
# Baseline and challenger.
COMPARED = (
    ("teacher_teacher", "student_student"),
    ("teacher_teacher", "teacher_student"),
    ("teacher_teacher", "student_teacher"),
    ("alone_alone", "student_student"),
    ("alone_alone", "distilled_distilled"),
    ("teacher_retrieval", "teacher_teacher"),
    ("student_retrieval", "student_student"),
    ("popularity", "student_student"),
    ("teacher_blend", "student_blend"),
    ("teacher_retrieval", "teacher_blend"),
    ("student_retrieval", "student_blend"),
    ("student_student", "student_blend"),
)
# A pair in process, and its exports.
EXPORTED = (("student_student", "exports"), ("student_blend", "exports_blend"))


def comparisons(chain: PipelineStages) -> list[dict[str, Any]]:
    """Paired tests over users, corrected for their number.

    Args:
        chain: pairs that are done.

    Returns:
        One dict a test: "metric", "baseline", "challenger", the fields of
        `PairedTest`, "p_corrected" (t-test, Holm over the tests of the
        metric) and "text".
    """
    done = [p for p in COMPARED if all(chain.is_done(name) for name in p)]
    found = []
    for metric in TESTED:
        tests = [
            paired_test(*(chain.per_user(name)[metric] for name in pair))
            for pair in done
        ]
        corrected = holm([test.t_p_value for test in tests])
        found += [
            {
                "metric": metric,
                "baseline": pair[0],
                "challenger": pair[1],
                **dataclasses.asdict(test),
                "p_corrected": p,
                "text": str(test),
            }
            for pair, test, p in zip(done, tests, corrected, strict=True)
        ]
    return found


def parity(chain: PipelineStages) -> dict[str, dict[str, Any]]:
    """Whether the exports say the same as the Keras models in process.

    Args:
        chain: the pairs.

    Returns:
        By the pair in process: "users", "k", "identical_lists" (share, order
        and all), "same_items" (share with the same items in any order) and
        "max_score_difference" of places that both fill; nothing without
        exports.
    """
    return {
        pair[0]: _same(*(chain.arrays(name) for name in pair))
        for pair in EXPORTED
        if all(chain.is_done(name) for name in pair)
    }


def _same(
    one: dict[str, np.ndarray], other: dict[str, np.ndarray]
) -> dict[str, Any]:
    same = one["items"] == other["items"]
    sets = np.sort(one["items"]) == np.sort(other["items"])
    both = (one["items"] >= 0) & (other["items"] >= 0)
    gap = np.abs(one["scores"][both] - other["scores"][both])
    return {
        "users": len(same),
        "k": same.shape[1],
        "identical_lists": float(same.all(axis=1).mean()),
        "same_items": float(sets.all(axis=1).mean()),
        "max_score_difference": float(gap.max(initial=0.0)),
    }
