"""Which rankers take part in a comparison, and where each may be tuned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kd_tfrs.errors import UserError
from kd_tfrs.models.ranking import RankingTask
from kd_tfrs.workflow.ranking.chosen_methods import ChosenMethods
from kd_tfrs.workflow.ranking.config import RankingConfig
from kd_tfrs.workflow.ranking.methods import (
    RANKING_METHODS,
    parse_ranking_method,
)
from kd_tfrs.workflow.ranking.prepare import RankingPrepared
from kd_tfrs.workflow.retrieval.contenders import (
    ALONE,
    Choices,
    Contender,
    Family,
    contenders,
    first_of,
    scaled,
    sizes,
)

ALL = "all"
_PENALTIES = (0.0, 1e-5, 1e-4)
_DROPOUTS = (0.0, 0.1, 0.3)
# Networks without a layer in which fields meet, see `interaction_hint`.
_NO_INTERACTION = ("dnn", "wide_deep")


def named_contenders(
    names: Sequence[str], config: RankingConfig
) -> list[Contender]:
    """The contenders that are named, before the data are read.

    Args:
        names: see `contenders`; "all" is for `fitting_contenders`.
        config: options of everybody.

    Returns:
        The contenders, the student alone first.

    Raises:
        UserError: a method is unknown, or there is none.
    """
    named = [n for n in names if n.strip() != ALL]
    return contenders(named or [ALONE] * bool(names), config, FAMILY)


def fitting_contenders(
    names: Sequence[str], config: RankingConfig, prepared: RankingPrepared
) -> list[Contender]:
    """The contenders, "all" being every method that fits data and tasks.

    Args:
        names: see `named_contenders`.
        config: options of everybody.
        prepared: data and tasks.

    Returns:
        The contenders, the student alone first.

    Raises:
        UserError: one that was named does not fit.
    """
    chosen: list[str] = []
    for name in names:
        chosen += (
            _all(config, prepared) if name.strip() == ALL else [name.strip()]
        )
    found = contenders(chosen, config, FAMILY)
    for one in found:
        _check(one, config, prepared)
    return found


def _all(config: RankingConfig, prepared: RankingPrepared) -> list[str]:
    """Every method, with the one that it needs beside it."""
    names = []
    for name, method in RANKING_METHODS.items():
        together = f"{method.beside}+{name}" if method.beside else name
        if _fits(name, prepared.tasks, config):
            names.append(together)
    if len(prepared.tasks) > 1:
        names += [f"binary_soft_targets@{t.name}" for t in prepared.tasks]
    return [name for name in names if _may(name, config, prepared)]


def _fits(
    name: str, tasks: Sequence[RankingTask], config: RankingConfig
) -> bool:
    if name == "score_regression":
        # Of ratings it is what soft targets are.
        return any(task.kind == "binary" for task in tasks)
    if name == "interaction_hint":
        networks = config.teacher_rankers.networks
        return not set(networks) <= set(_NO_INTERACTION)
    return True


def _may(name: str, config: RankingConfig, prepared: RankingPrepared) -> bool:
    try:
        for one in contenders([name], config, FAMILY):
            _check(one, config, prepared)
    except UserError:
        return False
    return True


def _check(
    one: Contender, config: RankingConfig, prepared: RankingPrepared
) -> None:
    if one.name == ALONE:
        return
    options = type(config).from_flat(one.flat).distillation
    try:
        ChosenMethods(options, prepared)
    except UserError as error:
        message = str(error).replace("--distillation_losses", "--methods")
        raise UserError(f"{one.name}: {message}") from None


def _alone_space(flat: Mapping[str, Any]) -> Choices:
    return {
        "student_learning_rate": scaled(flat["student_learning_rate"]),
        "student_batch_size": sizes(flat["student_batch_size"]),
        "student_dropout": first_of(flat["student_dropout"], _DROPOUTS),
        "student_l2": first_of(flat["student_l2"], _PENALTIES),
    }


def _distilled_space(flat: Mapping[str, Any]) -> Choices:
    return {"student_l2": first_of(flat["student_l2"], _PENALTIES)}


FAMILY = Family(
    RANKING_METHODS, parse_ranking_method, _alone_space, _distilled_space
)
