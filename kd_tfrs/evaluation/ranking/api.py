"""All names of `kd_tfrs.evaluation.ranking`."""

from kd_tfrs.evaluation.ranking.bootstrap import (
    paired_user_bootstrap,
    user_bootstrap,
)
from kd_tfrs.evaluation.ranking.plots import (
    plot_calibration,
    plot_roc,
    plot_scores,
)
from kd_tfrs.evaluation.ranking.protocol import RankingEvaluation, RankingResult

__all__ = [name for name in dir() if not name.startswith("_")]
