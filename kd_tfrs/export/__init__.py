"""Shared parts of all exports: version folders, storage, LiteRT."""

from kd_tfrs.export.c_api import CSavedModel
from kd_tfrs.export.litert import to_litert
from kd_tfrs.export.litert_runner import (
    LiteRtParity,
    LiteRtRunner,
    compare_litert,
)
from kd_tfrs.export.saved_model import export_saved_model, versions
from kd_tfrs.export.stored_table import FLOAT32, Storage, StoredTable

__all__ = [
    "FLOAT32",
    "CSavedModel",
    "LiteRtParity",
    "LiteRtRunner",
    "Storage",
    "StoredTable",
    "compare_litert",
    "export_saved_model",
    "to_litert",
    "versions",
]
