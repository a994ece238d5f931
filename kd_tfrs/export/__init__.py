"""Shared parts of all exports: version folders, storage, LiteRT."""

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

from kd_tfrs.lazy import lazy_names

if TYPE_CHECKING:
    from kd_tfrs.export.api import *  # noqa: F403

__getattr__ = lazy_names(__name__)


class _Room(types.ModuleType):
    """This module, which has the name of the function `kd.export`."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        """See `kd_tfrs.functions.shipping.export`."""
        # It knows both tasks, and this room knows none.
        shipping = importlib.import_module("kd_tfrs.functions.shipping")
        return shipping.export(*args, **options)


sys.modules[__name__].__class__ = _Room
