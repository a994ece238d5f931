"""Scorers of a catalogue, and the protocols that rank it."""

from typing import TYPE_CHECKING

from kd_tfrs.lazy import lazy_names

if TYPE_CHECKING:
    from kd_tfrs.evaluation.retrieval.api import *  # noqa: F403

__getattr__ = lazy_names(__name__)
