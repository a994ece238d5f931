"""All names of `kd_tfrs.models`."""

from kd_tfrs.models.features import Feature, FeatureSet
from kd_tfrs.models.layers import MaskedMean
from kd_tfrs.models.one_user import OneUserCatalogue, OneUserNetwork
from kd_tfrs.models.optimizers import LazyAdam

__all__ = [name for name in dir() if not name.startswith("_")]
