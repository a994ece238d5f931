"""How fast the stages of a retrieval run answer, measured at its end."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from kd_tfrs.data.catalogue import Catalogue
from kd_tfrs.export import export_saved_model
from kd_tfrs.export.served_latency import ServedLatency
from kd_tfrs.workflow.latencies import exported_latency
from kd_tfrs.workflow.retrieval.measure import Embedded, serving_module
from kd_tfrs.workflow.retrieval.prepare import Prepared

LARGE_CATALOGUE = 100_000
_USERS = 50


def measure_latencies(
    stages: Mapping[str, Embedded],
    prepared: Prepared,
    *,
    reference: str,
    top_k: int,
    seconds: float,
) -> dict[str, Any]:
    """Times one user's recommendations by every stage, in turns.

    Twice: with the items of the data, and with a catalogue of 100,000 rows,
    which repeats the candidates, or takes the first ones of more. In both the
    graph is the one that is exported, and float32 tables are in memory, as with
    any export.

    Args:
        stages: embeddings by the name of the stage.
        prepared: for the catalogue and the users.
        reference: name of the stage that the others are compared with.
        top_k: answers of a request.
        seconds: to be measured in each of the two.

    Returns:
        "rows": by stage `latency_ms`, `times_faster`, `within_noise`,
        `latency_ms_100k` and `times_faster_100k`; "warning": what other
        processes took meanwhile, or `None`.
    """
    requests = [
        {"user_id": prepared.test.users[i : i + 1]}
        for i in range(min(_USERS, len(prepared.test.users)))
    ]
    large = {name: _repeated(one) for name, one in stages.items()}
    catalogue = _large_catalogue(prepared.catalogue)

    def timed(
        embedded: Mapping[str, Embedded], where: Prepared
    ) -> ServedLatency:
        return exported_latency(
            embedded,
            lambda one, folder: export_saved_model(
                serving_module(one, where, top_k), folder
            ),
            requests,
            reference=reference,
            seconds=seconds,
        )

    found = [
        timed(stages, prepared),
        timed(large, dataclasses.replace(prepared, catalogue=catalogue)),
    ]
    own, huge = (one.rows for one in found)
    rows = {
        name: {
            **own[name],
            "latency_ms_100k": huge[name]["latency_ms"],
            "times_faster_100k": huge[name]["times_faster"],
        }
        for name in stages
    }
    warnings = [one.contention.warning for one in found]
    return {"rows": rows, "warning": next(filter(None, warnings), None)}


def _repeated(embedded: Embedded) -> Embedded:
    rows = np.arange(LARGE_CATALOGUE) % len(embedded.candidates)
    return dataclasses.replace(embedded, candidates=embedded.candidates[rows])


def _large_catalogue(catalogue: Catalogue) -> Catalogue:
    """The same users with items that are numbered."""
    column = catalogue.item_column
    items = catalogue.items.iloc[:0].reindex(range(LARGE_CATALOGUE))
    items[column] = np.arange(LARGE_CATALOGUE, dtype=np.int64)
    return dataclasses.replace(
        catalogue,
        items=items,
        item_events=np.ones(LARGE_CATALOGUE, np.int64),
    )
