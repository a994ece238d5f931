"""Ranking models: tasks, networks over fields, the TFRS model."""

from typing import TYPE_CHECKING

from kd_tfrs.lazy import lazy_names

if TYPE_CHECKING:
    from kd_tfrs.models.ranking.api import *  # noqa: F403

__getattr__ = lazy_names(__name__)
