"""Names of the stages of a retrieval run."""

from __future__ import annotations

from kd_tfrs.workflow.compression_options import FORMS
from kd_tfrs.workflow.retrieval.config import Config


def stage_names(config: Config) -> tuple[str, ...]:
    """The stages of a run, in the order of the table.

    Example:
    >>> stage_names(Config())[:3]
    ('popularity', 'als', 'teacher')
    """
    baselines = ("popularity", "als") if config.evaluation.baselines else ()
    return (*baselines, "teacher", "student", *FORMS, "saved_model")
