"""`kd.split` and `kd.build_model`: data and models of either task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import kd_tfrs.data
from kd_tfrs.data import Interactions, Split
from kd_tfrs.data.ranking import build_examples
from kd_tfrs.data.ranking.datasets import default_tasks
from kd_tfrs.data.ranking.splits import split_for_ranking
from kd_tfrs.distillation.losses.checks import check_count
from kd_tfrs.errors import UserError
from kd_tfrs.workflow.ranking.functions import RankingFunctions
from kd_tfrs.workflow.ranking.prepare import RankingPrepared, prepare_examples
from kd_tfrs.workflow.retrieval.functions import RetrievalFunctions
from kd_tfrs.workflow.retrieval.prepare import Prepared, prepare_interactions
from kd_tfrs.workflow.task_functions import TaskFunctions

_FUNCTIONS = {Prepared: RetrievalFunctions, RankingPrepared: RankingFunctions}


def functions_of(data: Prepared | RankingPrepared) -> TaskFunctions:
    """The functions of the task of prepared data.

    Raises:
        UserError: the data are not prepared.
    """
    for kind, functions in _FUNCTIONS.items():
        if isinstance(data, kind):
            return functions(data)
    raise UserError(
        "`data` should come from kd.split. Received: "
        f"{type(data).__name__}. Write kd.split(kd.load(...))."
    )


def split(
    interactions: Interactions,
    method: str | Split = "auto",
    *,
    task: str = "retrieval",
    seed: int = 0,
    tasks: Sequence[str] | None = None,
    history_length: int | None = None,
) -> Prepared | RankingPrepared:
    """Splits interactions, and prepares them for training and evaluation.

    Args:
        interactions: see `kd.load` and `kd.clean`.
        method: "time", "ratio", "leave_one_out", "given", for ranking also
            "random", or "auto", which takes what fits the data; or a `Split`
            of your own.
        task: "retrieval", to find items for a user among all, or "ranking",
            to score items that are given.
        seed: of random splits.
        tasks: of ranking, names of the labels, see `build_examples`. When
            `None`, the label itself where it is 0 or 1, otherwise "liked".
        history_length: of ranking, items in a history; 20 when `None` and the
            data have time.

    Returns:
        Data for `kd.fit`, `kd.evaluate`, `kd.distill` and the others.

    Raises:
        UserError: the method does not fit, or an argument has no effect.

    Example:
    ```python
    data = kd.split(kd.load(events, user_id="member", item_id="film"))
    ratings = kd.split(kd.load(events), task="ranking", tasks=["rating"])
    ```
    """
    _check_split(interactions, method)
    check_count("seed", seed, 0)
    if task == "ranking":
        if history_length is not None:
            check_count("history_length", history_length, 0)
        parts = method
        if isinstance(method, str):
            parts = split_for_ranking(interactions, method, seed=seed)
        if tasks is None:
            tasks = default_tasks(interactions)
        return prepare_examples(
            build_examples(interactions, parts, tasks, history_length)
        )
    if task != "retrieval":
        raise UserError(
            "`task` should be retrieval or ranking. Received: `task` = "
            f"{task!r}."
        )
    for name, value in (("tasks", tasks), ("history_length", history_length)):
        if value is not None:
            raise UserError(
                f"`{name}` should be left out for retrieval. Received: "
                f"`{name}` = {value!r}. Give task='ranking' as well."
            )
    parts = method
    if isinstance(method, str):
        parts = kd_tfrs.data.split(interactions, method, seed)
    return prepare_interactions(interactions, split=parts, seed=seed)


def _check_split(interactions: Any, method: Any) -> None:
    if not isinstance(interactions, Interactions):
        raise UserError(
            "`interactions` should come from kd.load or kd.clean. Received: "
            f"{type(interactions).__name__}. Write kd.split(kd.load(...))."
        )
    if isinstance(method, str):
        return
    if not isinstance(method, Split):
        raise UserError(
            "`method` should be the name of a method or a Split. Received: "
            f"`method` = {method!r}. Write 'auto', 'time' or 'leave_one_out'."
        )
    schema = interactions.schema
    for side, name, table in (
        ("user", schema.user_id, interactions.users),
        ("item", schema.item_id, interactions.items),
    ):
        parts = (method.train, method.validation, method.test)
        unknown = sum((~part[name].isin(table[name])).sum() for part in parts)
        if unknown:
            raise UserError(
                "`method` should be a Split of these interactions. Received: "
                f"{unknown:,} events of a {side} that they do not have."
            )


def build_teacher(model: Any, data: Prepared | RankingPrepared) -> Any:
    """A teacher for `kd.Distiller` from trained models.

    Args:
        model: see `teacher` of `kd.distill`; it stays as it is.
        data: see `kd.split`.

    Returns:
        For retrieval a teacher by rows of the data, whose lists leave out the
        seen items; for ranking one network, or the mean of several.

    Raises:
        UserError: the model does not fit the data.

    Example:
    ```python
    teacher = kd.build_teacher(large, data)
    distiller = kd.Distiller(teacher, student, kd.SoftTargets(0.4))
    ```
    """
    return functions_of(data).build_teacher(model)


def build_model(data: Prepared | RankingPrepared, **options: Any) -> Any:
    """A compiled model on the features of the data.

    Args:
        data: see `kd.split`.
        **options: the options of the command line without their prefix, such
            as `embedding_dim`, `hidden_units`, `dropout` and `learning_rate`;
            for ranking also `network`, for retrieval `softmax_temperature`.

    Returns:
        A `RetrievalModel` or a `RankingModel`.

    Raises:
        UserError: an option is unknown or out of its range.

    Example:
    ```python
    teacher = kd.build_model(data, embedding_dim=200, learning_rate=0.01)
    ```
    """
    return functions_of(data).build(options)
