"""Metrics of predicted probabilities and ratings, by user and overall."""

from typing import TYPE_CHECKING

from kd_tfrs.lazy import lazy_names

if TYPE_CHECKING:
    from kd_tfrs.evaluation.ranking.api import *  # noqa: F403

__getattr__ = lazy_names(__name__)
