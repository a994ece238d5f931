"""Metrics of predicted probabilities and ratings, by user and overall."""

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

__all__ = [
    "RankingEvaluation",
    "RankingResult",
    "paired_user_bootstrap",
    "plot_calibration",
    "plot_roc",
    "plot_scores",
    "user_bootstrap",
]
