"""Retrieval models: towers, the TFRS model, teachers of other kinds."""

from typing import TYPE_CHECKING

from kd_tfrs.lazy import lazy_names

if TYPE_CHECKING:
    from kd_tfrs.models.retrieval.api import *  # noqa: F403

__getattr__ = lazy_names(__name__)
