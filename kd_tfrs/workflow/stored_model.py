"""A trained model and how its weights are stored."""

from __future__ import annotations

import dataclasses
from typing import Any

from kd_tfrs.export import FLOAT32, Storage


@dataclasses.dataclass(frozen=True)
class StoredModel:
    """A trained model and how its weights are stored.

    Args:
        model: trained.
        storage: of its tables and kernels in an export.
    """

    model: Any
    storage: Storage

    @classmethod
    def of(cls, model: Any) -> StoredModel:
        """A model of any kind; the student of a distiller.

        Args:
            model: a `StoredModel` as it is, a distiller, or a model, whose
                weights are then stored as float32.
        """
        if isinstance(model, cls):
            return model
        return cls(getattr(model, "student", model), FLOAT32)
