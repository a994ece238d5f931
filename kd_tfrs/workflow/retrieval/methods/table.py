"""All methods by name, and the terms of those that were asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from kd_tfrs.workflow.naming import parse_method
from kd_tfrs.workflow.retrieval.config import DistillationOptions
from kd_tfrs.workflow.retrieval.methods.base import Method, Setting
from kd_tfrs.workflow.retrieval.methods.features import FEATURES
from kd_tfrs.workflow.retrieval.methods.scores import (
    ADAPTIVE,
    RANKING,
    RESPONSE,
)

if TYPE_CHECKING:
    from kd_tfrs.distillation import DistillationTerm
    from kd_tfrs.distillation.retrieval import Teacher

METHODS: dict[str, Method] = {**RESPONSE, **RANKING, **FEATURES, **ADAPTIVE}


def build_terms(
    names: Sequence[str],
    setting: Setting,
    teacher: Callable[[str], Teacher | None] = lambda name: None,
) -> tuple[list[DistillationTerm], list[float]]:
    """Terms and weights for the `Distiller`.

    Args:
        names: as on the command line, `name[@teacher][:weight]`.
        setting: see `Setting`.
        teacher: the teacher of a name; `None` for the run's own.

    Returns:
        Terms and weights. A method of several terms shares its weight.

    Raises:
        UserError: a method is unknown, or its weight is no number.

    Example:
    ```python
    terms, weights = build_terms(["soft_targets:0.8", "hint:0.1"], setting)
    ```
    """
    terms: list[DistillationTerm] = []
    weights: list[float] = []
    for text in names:
        named = parse_method(text, METHODS)
        method = METHODS[named.method]
        own = teacher(named.teacher or method.teacher)
        made = method.terms(
            dataclasses.replace(
                setting,
                options=method.resolve(setting.options),
                num_teachers=len(getattr(own, "teachers", ())) or 1,
            )
        )
        terms += [dataclasses.replace(term, teacher=own) for term in made]
        weights += [named.weight / len(made)] * len(made)
    return terms, weights


def longest_list(options: DistillationOptions) -> int:
    """How long the teacher's lists have to be for all methods at once.

    Args:
        options: as they were asked for.

    Returns:
        A length.

    Raises:
        UserError: a method is unknown.
    """
    methods = (METHODS[parse_method(x, METHODS).method] for x in options.losses)
    return max(method.resolve(options).top_k for method in methods)


def documented_terms(method: Method) -> list[DistillationTerm]:
    """The terms of a method by its own defaults, for a table of them.

    Args:
        method: any.

    Returns:
        Terms without a teacher, for a small catalogue.
    """
    rows = np.arange(1, 1001, dtype=np.int32)
    setting = Setting(
        method.resolve(DistillationOptions()),
        1000,
        rows,
        rows - 1,
        1001,
        1000,
        num_teachers=2,
    )
    return method.terms(setting)
