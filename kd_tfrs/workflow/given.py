"""Data and models of a Python program, instead of those that flags name."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from kd_tfrs.workflow.training import get_weights


@dataclasses.dataclass(frozen=True, eq=False)
class Given:
    """What a program gives to a run.

    Args:
        data: prepared data of the task.
        teachers: trained models by the names of their stages; none where the
            run trains the teacher.
        student: an untrained model whose copies are trained alone and
            distilled; `None` where options describe the student.
    """

    data: Any
    teachers: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    student: Any = None

    def fingerprint(self) -> str:
        """SHA-256 of the data, their split and the weights of all models."""
        digest = hashlib.sha256(self.data.fingerprint().encode())
        for table in self.data.parts():
            hashes = pd.util.hash_pandas_object(table, index=False)
            digest.update(hashes.to_numpy().tobytes())
        for model in self._models():
            for weight in get_weights(model):
                digest.update(np.ascontiguousarray(weight))
        return digest.hexdigest()

    def _models(self) -> Iterator[Any]:
        yield from self.teachers.values()
        if self.student is not None:
            yield self.student
