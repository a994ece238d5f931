"""All names of `kd_tfrs.distillation.losses`.

Every registered loss of a module of this package is one of them, so that a new
loss needs a module and no entry here.
"""

import importlib
import pkgutil

import tensorflow as tf

from kd_tfrs.distillation import losses
from kd_tfrs.distillation.losses.base import (
    DistillationLoss,
    Untempered,
    masked_log_softmax,
    masked_mean,
)
from kd_tfrs.distillation.losses.feature_base import FeatureLoss
from kd_tfrs.distillation.losses.inputs import LossInputs
from kd_tfrs.distillation.losses.unbiased import popularity_groups

_names = {"DistillationLoss", "FeatureLoss", "LossInputs", "Untempered"}
_names |= {"masked_log_softmax", "masked_mean", "popularity_groups"}
for _module in pkgutil.iter_modules(losses.__path__, f"{losses.__name__}."):
    if _module.name == __name__:
        continue
    for _name, _value in vars(importlib.import_module(_module.name)).items():
        _is_loss = isinstance(_value, type) and issubclass(
            _value, tf.keras.losses.Loss
        )
        # Registered, unlike the bases of losses.
        if _is_loss and tf.keras.utils.get_registered_name(_value) != _name:
            globals()[_name] = _value
            _names.add(_name)
__all__ = sorted(_names)
