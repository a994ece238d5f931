"""Compression: pruning and quantising networks."""

from kd_tfrs.compression.pruning import (
    prunable,
    pruning_schedule,
    sparsity,
    strip,
)
from kd_tfrs.compression.quantization import (
    Int8Embedding,
    quantization_aware,
    quantize_tables,
    quantized_rows,
)

__all__ = [
    "Int8Embedding",
    "prunable",
    "pruning_schedule",
    "quantization_aware",
    "quantize_tables",
    "quantized_rows",
    "sparsity",
    "strip",
]
