"""All names of `kd_tfrs.distillation`."""

from kd_tfrs.distillation.balance import GradientNormBalance
from kd_tfrs.distillation.losses.api import *  # noqa: F403
from kd_tfrs.distillation.terms import DistillationTerm

__all__ = [name for name in dir() if not name.startswith("_")]
