"""Names of the stages of a ranking run."""

from __future__ import annotations

from kd_tfrs.workflow.compression_options import FORMS
from kd_tfrs.workflow.ranking.config import RankingConfig

_BASELINES = ("prior", "lightgbm")
_EXPORTS = ("saved_model", "litert")


def member_stages(config: RankingConfig) -> dict[str, str]:
    """The teacher's networks by the names of their stages.

    Example:
    >>> from kd_tfrs.workflow.ranking.options import TeacherRankers
    >>> two = TeacherRankers(networks=("dcn", "dcn"))
    >>> member_stages(RankingConfig(teacher_rankers=two))
    {'teacher_dcn': 'dcn', 'teacher_dcn_2': 'dcn'}
    """
    found: dict[str, str] = {}
    for kind in config.teacher_rankers.networks:
        name, number = f"teacher_{kind}", 2
        while name in found:
            name, number = f"teacher_{kind}_{number}", number + 1
        found[name] = kind
    return found


def stage_names(config: RankingConfig) -> tuple[str, ...]:
    """The stages of a run, in the order of the table.

    Args:
        config: names the networks that teach, and says whether there are
            baselines.

    Returns:
        Their names.

    Example:
    >>> stage_names(RankingConfig())[:4]
    ('prior', 'lightgbm', 'teacher_dcn', 'teacher_deepfm')
    """
    baselines = _BASELINES if config.evaluation.baselines else ()
    members = member_stages(config)
    return (
        *baselines,
        *members,
        "teacher",
        "student",
        *FORMS,
        *_EXPORTS,
    )
