"""All names of `kd_tfrs.distillation`."""

from kd_tfrs.distillation import losses
from kd_tfrs.distillation.balance import GradientNormBalance
from kd_tfrs.distillation.losses import *  # noqa: F403
from kd_tfrs.distillation.terms import DistillationTerm

__all__ = ["DistillationTerm", "GradientNormBalance", *losses.__all__]
