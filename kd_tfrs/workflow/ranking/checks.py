"""Mistakes of a ranking run that its flags alone show."""

from __future__ import annotations

from collections.abc import Sequence

from kd_tfrs.data.ranking.datasets import known_tasks
from kd_tfrs.errors import UserError
from kd_tfrs.workflow.ranking.config import RankingConfig
from kd_tfrs.workflow.ranking.loading import check_data
from kd_tfrs.workflow.ranking.methods import parse_ranking_method
from kd_tfrs.workflow.ranking.naming import member_stages
from kd_tfrs.workflow.ranking.networks import network_flags, ranker_config


def check_config(
    config: RankingConfig, losses: Sequence[str] | None = None
) -> None:
    """Finds mistakes in the flags; imports no TensorFlow and reads no rows.

    Args:
        config: what is to be run.
        losses: the methods; those of `config` when `None`.

    Raises:
        UserError: the data cannot be found, a method is unknown, or options
            do not go together. A mistake that shows in the data alone is left
            to the run.

    Example:
    ```python
    check_config(RankingConfig())
    ```
    """
    check_data(config.data)
    tasks = known_tasks(config.data.dataset, config.data.tasks)
    check_options(config, tasks, losses)


def check_options(
    config: RankingConfig,
    tasks: Sequence[str] | None,
    losses: Sequence[str] | None = None,
) -> None:
    """The same for everything but the data.

    Args:
        config: what is to be run.
        tasks: names of the labels; `None` where the data decide.
        losses: see `check_config`.

    Raises:
        UserError: see `check_config`.
    """
    for text in config.distillation.losses if losses is None else losses:
        parse_ranking_method(text, tasks)
    if tasks is not None:
        check_shifts(config, tasks)
    _check_networks(config, tasks)


def check_shifts(config: RankingConfig, tasks: Sequence[str]) -> None:
    """Refuses sampled negatives and weighted classes of several labels.

    One offset puts the logits of one label right, not those of another.

    Raises:
        UserError: an option is for one label.
    """
    for prefix in ("teacher", "student", "distilled"):
        options = getattr(config, prefix)
        if len(tasks) > 1 and (
            options.negative_rate < 1 or options.class_weights != "none"
        ):
            raise UserError(
                f"`--{prefix}_negative_rate` and "
                f"`--{prefix}_class_weights` should be left out with "
                "several labels: they are drawn by the first, and what "
                "the others say would not be corrected. Received: "
                f"{options.negative_rate:g} and {options.class_weights} "
                f"for {', '.join(tasks)}. Give one of --tasks."
            )


def _check_networks(config: RankingConfig, tasks: Sequence[str] | None) -> None:
    networks = {
        stage: (kind, config.teacher_rankers, config.teacher)
        for stage, kind in member_stages(config).items()
    }
    student = config.student_ranker
    networks["student"] = (student.network, student, config.student)
    for stage, (kind, options, training) in networks.items():
        with network_flags(stage):
            network = ranker_config(options, kind, training.dropout)
            if tasks is not None:
                network.check_heads(len(tasks))
            if config.data.history_length == 0 or not options.use_history:
                network.check_history(False)
