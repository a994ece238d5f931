"""All names of `kd_tfrs.distillation.ranking`."""

from kd_tfrs.distillation.ranking.auxiliary import (
    with_auxiliary_head,
    without_auxiliary_head,
)
from kd_tfrs.distillation.ranking.cached import CachedTeacher
from kd_tfrs.distillation.ranking.calibrated import CalibratedSoftTargets
from kd_tfrs.distillation.ranking.distiller import RankingDistiller
from kd_tfrs.distillation.ranking.ensemble import RankingEnsemble
from kd_tfrs.distillation.ranking.gated import GatedRankingEnsemble
from kd_tfrs.distillation.ranking.network_outputs import NetworkOutputs
from kd_tfrs.distillation.ranking.selectors import OutputSelector, TaskLogits
from kd_tfrs.distillation.ranking.sessions import SessionLists
from kd_tfrs.distillation.ranking.stopping import DistillationEarlyStopping
from kd_tfrs.distillation.ranking.student_adapter import AdaptedSoftTargets
from kd_tfrs.distillation.ranking.teacher_history import with_teacher_history
from kd_tfrs.distillation.ranking.teachers import NetworkTeacher, RankingTeacher

__all__ = [name for name in dir() if not name.startswith("_")]
