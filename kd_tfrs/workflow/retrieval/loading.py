"""From the data flags to interactions."""

from __future__ import annotations

from typing import Any

from kd_tfrs.data import Interactions, pseudonymise, read_key
from kd_tfrs.data.datasets import check_load, load
from kd_tfrs.workflow.retrieval.config import DataConfig


def load_data(data: DataConfig) -> Interactions:
    """Loads and cleans the data, and puts pseudonyms in place of the ids.

    Raises:
        UserError: the data cannot be used.
    """
    interactions = load(data.dataset, **_arguments(data))
    if data.pseudonym_key_file:
        key = read_key(data.pseudonym_key_file)
        interactions = pseudonymise(interactions, key)
    return interactions


def check_data(data: DataConfig) -> None:
    """Finds mistakes in the data flags, and reads no rows.

    Raises:
        UserError: see `load_data`; a mistake that shows in rows alone is left
            to it.
    """
    check_load(data.dataset, **_arguments(data))
    if data.pseudonym_key_file:
        read_key(data.pseudonym_key_file)


def _arguments(data: DataConfig) -> dict[str, Any]:
    size = {"num_events": data.num_events}
    return {
        "data_dir": data.data_dir,
        "user_id": data.user_column,
        "item_id": data.item_column,
        "time": data.time_column,
        "label": data.label_column,
        "min_user_events": data.min_user_events,
        "min_item_events": data.min_item_events,
        "min_label": data.min_label,
        **(size if data.dataset == "synthetic" else {}),
    }
