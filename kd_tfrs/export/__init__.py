"""Export: what a served model answers, and how it gets into place."""

from kd_tfrs.export.c_api import CSavedModel
from kd_tfrs.export.saved_model import export_saved_model, versions
from kd_tfrs.export.signatures import RetrievalModule
from kd_tfrs.export.verify import Parity, compare_scorers, verify_export

__all__ = [
    "CSavedModel",
    "Parity",
    "RetrievalModule",
    "compare_scorers",
    "export_saved_model",
    "verify_export",
    "versions",
]
