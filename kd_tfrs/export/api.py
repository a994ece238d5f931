"""All names of `kd_tfrs.export`."""

from kd_tfrs.export.c_api import CSavedModel
from kd_tfrs.export.litert import (
    LiteRtParity,
    LiteRtRunner,
    compare_litert,
    to_litert,
)
from kd_tfrs.export.saved_model import export_saved_model, versions
from kd_tfrs.export.stored_table import FLOAT32, Storage, StoredTable

__all__ = [name for name in dir() if not name.startswith("_")]
