"""Compression: pruning towers."""

from kd_tfrs.compression.pruning import (
    prunable,
    pruning_schedule,
    sparsity,
    strip,
)

__all__ = ["prunable", "pruning_schedule", "sparsity", "strip"]
