"""A trained model put in place for serving, once it has been verified."""

from __future__ import annotations

import os
from pathlib import Path

from kd_tfrs.export import FLOAT32, Storage, export_saved_model
from kd_tfrs.export.retrieval import Parity, verify_export
from kd_tfrs.models.retrieval import RetrievalModel
from kd_tfrs.workflow.retrieval import measure
from kd_tfrs.workflow.retrieval.prepare import Encoded, Prepared

_VERIFIED_USERS = 200
_VERIFIED_ITEMS = 100


def export_model(
    model: RetrievalModel,
    prepared: Prepared,
    encoded: Encoded,
    base_dir: str | os.PathLike,
    *,
    storage: Storage = FLOAT32,
    top_k: int = 10,
) -> tuple[Path, Parity]:
    """Exports the next version, loaded back and compared before it counts.

    Args:
        model: trained.
        prepared: for the catalogue and the users to compare on.
        encoded: its features.
        base_dir: folder of versions, see `export_saved_model`.
        storage: how the tables are stored; with 8-bit integers the export is
            compared with the rounded tables.
        top_k: answers of the `serving_default` signature.

    Returns:
        The version's folder, and how close it is to the model: the top 100
        of 200 users.

    Raises:
        UserError: it cannot be written, or scores otherwise than the model;
            the versions that were there stay as they are.

    Example:
    ```python
    version, parity = export_model(student, prepared, encoded, "models/films")
    ```
    """
    embedded = measure.embed(model, encoded, prepared)
    expected = embedded.stored(storage).scorer(prepared)
    found: list[Parity] = []

    def verify(path: Path) -> None:
        found.append(
            verify_export(
                path,
                expected,
                prepared.test.users[:_VERIFIED_USERS],
                k=min(_VERIFIED_ITEMS, prepared.catalogue.num_items),
            )
        )

    version = export_saved_model(
        measure.serving_module(embedded, prepared, top_k, storage),
        base_dir,
        verify=verify,
        items=prepared.catalogue.items,
    )
    return version, found[0]
