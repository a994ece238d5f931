"""Distillation losses: what of a teacher and a student is compared."""

from typing import TYPE_CHECKING

from kd_tfrs.lazy import lazy_names

if TYPE_CHECKING:
    from kd_tfrs.distillation.losses.api import *  # noqa: F403

__getattr__ = lazy_names(__name__)
