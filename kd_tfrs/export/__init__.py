"""Shared parts of all exports: version folders, storage, LiteRT."""

from typing import TYPE_CHECKING

from kd_tfrs.lazy import lazy_names

if TYPE_CHECKING:
    from kd_tfrs.export.api import *  # noqa: F403

__getattr__ = lazy_names(__name__)
