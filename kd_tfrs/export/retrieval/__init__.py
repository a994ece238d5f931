"""Retrieval models as version folders of TensorFlow Serving."""

from kd_tfrs.export.retrieval.signatures import RetrievalModule
from kd_tfrs.export.retrieval.verify import (
    Parity,
    compare_scorers,
    verify_export,
)

__all__ = [
    "Parity",
    "RetrievalModule",
    "compare_scorers",
    "verify_export",
]
