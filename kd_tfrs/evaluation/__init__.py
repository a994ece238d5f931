"""Shared parts of all evaluations: significance, latency, tables, plots."""

from typing import TYPE_CHECKING

from kd_tfrs.lazy import lazy_names

if TYPE_CHECKING:
    from kd_tfrs.evaluation.api import *  # noqa: F403

__getattr__ = lazy_names(__name__)
