"""All names of `kd_tfrs.distillation.losses`.

Every public loss of a module of this package is one of them, so that a new
loss needs a module and no entry here.
"""

import importlib
import pkgutil

from kd_tfrs.distillation import losses
from kd_tfrs.distillation.losses.base import (
    WeightedLoss,
    masked_log_softmax,
    masked_mean,
)
from kd_tfrs.distillation.losses.inputs import LossInputs
from kd_tfrs.distillation.losses.unbiased import popularity_groups

_names = {"LossInputs", "masked_log_softmax", "masked_mean"}
_names.add("popularity_groups")
for _module in pkgutil.iter_modules(losses.__path__, f"{losses.__name__}."):
    if _module.name == __name__:
        continue
    for _name, _value in vars(importlib.import_module(_module.name)).items():
        _is_class = isinstance(_value, type) and not _name.startswith("_")
        if _is_class and issubclass(_value, WeightedLoss):
            globals()[_name] = _value
            _names.add(_name)
__all__ = sorted(_names)
