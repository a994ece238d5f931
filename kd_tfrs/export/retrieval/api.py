"""All names of `kd_tfrs.export.retrieval`."""

from kd_tfrs.export.retrieval.signatures import RetrievalModule
from kd_tfrs.export.retrieval.verify import (
    Parity,
    compare_scorers,
    verify_export,
)

__all__ = [name for name in dir() if not name.startswith("_")]
