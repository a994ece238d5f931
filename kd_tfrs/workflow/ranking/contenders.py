"""The contenders of a comparison of ranking models."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kd_tfrs.data.ranking.datasets import known_tasks
from kd_tfrs.errors import UserError
from kd_tfrs.workflow.comparison.contenders import (
    ALONE,
    Choices,
    Contender,
    Family,
    contender,
    contenders,
    first_of,
    scaled,
    sizes,
)
from kd_tfrs.workflow.ranking.config import RankingConfig
from kd_tfrs.workflow.ranking.methods import (
    RANKING_METHODS,
    parse_ranking_method,
)
from kd_tfrs.workflow.ranking.naming import member_stages

if TYPE_CHECKING:
    from kd_tfrs.workflow.ranking.prepare import RankingPrepared

ALL = "all"
_PENALTIES = (0.0, 1e-5, 1e-4)
_DROPOUTS = (0.0, 0.1, 0.3)
# Networks without a layer in which fields meet, see `interaction_hint`.
_NO_INTERACTION = ("dnn", "wide_deep")


def named_contenders(
    names: Sequence[str], config: RankingConfig
) -> list[Contender]:
    """The contenders before the data are read.

    Raises:
        UserError: a method is unknown, or there is none.
    """
    named = [n for n in names if n.strip() != ALL]
    found = contenders(named or [ALONE] * bool(names), config, FAMILY)
    tasks = known_tasks(config.data.dataset, config.data.tasks)
    for one in found[1:]:
        with _named(one):
            for text in one.flat["distillation_losses"]:
                parse_ranking_method(text, tasks)
    return found


def fitting_contenders(
    names: Sequence[str], config: RankingConfig, prepared: RankingPrepared
) -> list[Contender]:
    """The contenders of the data; "all" is every method that fits them.

    Raises:
        UserError: a named method does not fit the data.
    """
    chosen: list[str] = []
    for name in names:
        chosen += _all(config, prepared) if name.strip() == ALL else [name]
    fitting = contenders(chosen, config, FAMILY)
    for one in fitting[1:]:
        _check(one, config, prepared)
    return fitting


def _all(config: RankingConfig, prepared: RankingPrepared) -> list[str]:
    """Every method that fits, together with the method that it requires."""
    left_out = set()
    if all(task.kind == "rating" for task in prepared.tasks):
        # For ratings it equals soft targets.
        left_out.add("score_regression")
    if set(config.teacher_rankers.networks) <= set(_NO_INTERACTION):
        left_out.add("interaction_hint")
    names = [
        f"{method.beside}+{name}" if method.beside else name
        for name, method in RANKING_METHODS.items()
        if name not in left_out
    ]
    if len(prepared.tasks) > 1:
        names += [f"binary_soft_targets@{t.name}" for t in prepared.tasks]
    return [name for name in names if _is_valid(name, config, prepared)]


def _is_valid(
    name: str, config: RankingConfig, prepared: RankingPrepared
) -> bool:
    try:
        _check(contender(name, config, FAMILY), config, prepared)
    except UserError:
        return False
    return True


def _check(
    checked: Contender, config: RankingConfig, prepared: RankingPrepared
) -> None:
    # Imports TensorFlow, which the names of the contenders do not need.
    from kd_tfrs.workflow.ranking.chosen_methods import ChosenMethods

    options = type(config).from_flat(checked.flat).distillation
    with _named(checked):
        ChosenMethods(options, prepared)


@contextlib.contextmanager
def _named(checked: Contender) -> Iterator[None]:
    """Names the contender in the messages of mistakes."""
    try:
        yield
    except UserError as error:
        message = str(error).replace("--distillation_losses", "--methods")
        raise UserError(f"{checked.name}: {message}") from None


def tuned_teacher(config: RankingConfig) -> str:
    """The stage of the one network of a teacher that is tuned.

    Raises:
        UserError: there are several networks.
    """
    stages = list(member_stages(config))
    if len(stages) > 1:
        raise UserError(
            "`--teacher_networks` should name one network where a teacher is "
            "tuned, since the networks share the flags. Received: "
            f"{','.join(config.teacher_rankers.networks)}. Tune them one by "
            "one, each in a `--run_dir` of its own."
        )
    return stages[0]


def _penalty(flat: Mapping[str, Any], model: str = "student") -> Choices:
    return {f"{model}_l2": first_of(flat[f"{model}_l2"], _PENALTIES)}


def _training(stage: str, flat: Mapping[str, Any]) -> Choices:
    return {
        f"{stage}_learning_rate": scaled(flat[f"{stage}_learning_rate"]),
        f"{stage}_batch_size": sizes(flat[f"{stage}_batch_size"]),
        f"{stage}_dropout": first_of(flat[f"{stage}_dropout"], _DROPOUTS),
        **_penalty(flat, "teacher" if stage == "teacher" else "student"),
    }


_DISTILLATION = {
    "distillation_student_loss_weight": (0.0, 0.2, 0.5, 1.0),
    "distillation_temperature": (1.0, 2.0, 4.0),
}
FAMILY = Family(
    RANKING_METHODS, parse_ranking_method, _training, _DISTILLATION, _penalty
)
