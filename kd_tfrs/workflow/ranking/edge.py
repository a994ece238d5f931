"""A trained ranker as a LiteRT file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kd_tfrs.compression import quantize_tables
from kd_tfrs.export.litert import LiteRtRunner, to_litert
from kd_tfrs.files import replacing
from kd_tfrs.models.ranking import RankingModel
from kd_tfrs.workflow.ranking.measure import Logits
from kd_tfrs.workflow.ranking.prepare import RankingPrepared

_BLOCK = 4096
_SEED = 22
_CALIBRATION_ROWS = 500


def write_int8(
    model: RankingModel,
    prepared: RankingPrepared,
    names: tuple[str, ...],
    path: Path,
    *,
    activations: bool = False,
) -> LiteRtRunner:
    """Writes a ranker as a LiteRT file with weights of 8-bit integers.

    Tables and kernels have 8 bits; what flows between layers stays float
    by default. One scale for embeddings and for numbers beside
    them in a concatenation costs quality and saves no bytes.
    """
    if not activations:
        return _write(path, to_litert(model.network, "dynamic"))
    rows = _calibration_rows(prepared, names)
    content = to_litert(model.network, "int8", representative=rows)
    return _write(path, content)


def write_litert(
    model: RankingModel, path: Path, *, int8: bool
) -> LiteRtRunner:
    """Writes a ranker as a LiteRT file that holds the values of the model.

    Args:
        model: trained; where `int8`, with the values of 8-bit integers.
        path: the file.
        int8: store embeddings in 8 bits with a scale a row, and the kernels
            of layers of some size in 8 bits; float32 otherwise.

    Returns:
        What runs the file, on one thread.
    """
    network = quantize_tables(model.network) if int8 else model.network
    return _write(path, to_litert(network, "dynamic" if int8 else "float32"))


def _write(path: Path, content: bytes) -> LiteRtRunner:
    with replacing(path) as partial:
        partial.write_bytes(content)
    return LiteRtRunner(path)


def _calibration_rows(
    prepared: RankingPrepared, names: tuple[str, ...]
) -> dict[str, np.ndarray]:
    """Some training rows, the same in every run."""
    rng = np.random.default_rng(_SEED)
    total = len(prepared.split.train)
    rows = rng.choice(total, min(total, _CALIBRATION_ROWS), replace=False)
    tables = prepared.tables["train"]
    return {name: tables[name][rows] for name in names}


def litert_logits(
    runner: LiteRtRunner, prepared: RankingPrepared, names: tuple[str, ...]
) -> Logits:
    """Logits of the test examples.

    Args:
        runner: of the file.
        prepared: the data.
        names: of its features.

    Returns:
        `[test examples]` by task.
    """
    tables = prepared.tables["test"]
    blocks = [
        runner.predict({n: tables[n][i : i + _BLOCK] for n in names})
        for i in range(0, len(prepared.split.test), _BLOCK)
    ]
    return {
        task.name: np.concatenate([np.ravel(b[task.output]) for b in blocks])
        for task in prepared.tasks
    }
