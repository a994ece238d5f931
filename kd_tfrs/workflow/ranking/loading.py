"""From the data flags to examples."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

from kd_tfrs.data import read_key
from kd_tfrs.data.ranking import ExampleSplit
from kd_tfrs.data.ranking.datasets import check_examples, load_examples
from kd_tfrs.errors import UserError
from kd_tfrs.workflow.options import as_flags
from kd_tfrs.workflow.ranking.options import RankingDataConfig

# Options by the names that `load_examples` has for them.
_RENAMED = {
    "validation": "validation_share",
    "test": "test_share",
    "user_id": "user_column",
    "item_id": "item_column",
    "time": "time_column",
    "label": "label_column",
    "pseudonym_key": "pseudonym_key_file",
}


def load_data(data: RankingDataConfig, seed: int) -> ExampleSplit:
    """Loads and splits impressions by the flags.

    Raises:
        UserError: the data cannot be used; options are named as flags.
    """
    with _named_flags(data):
        return load_examples(
            data.dataset,
            data.data_dir,
            seed=seed,
            **_arguments(data),
        )


def check_data(data: RankingDataConfig) -> None:
    """Finds mistakes in the data flags, and reads no rows.

    Raises:
        UserError: see `load_data`; a mistake that shows in rows alone is left
            to it.
    """
    with _named_flags(data):
        check_examples(data.dataset, data.data_dir, **_arguments(data))


def _arguments(data: RankingDataConfig) -> dict[str, Any]:
    key_file = data.pseudonym_key_file
    given = {
        "history_length": data.history_length,
        "liked_from": None if data.liked_from == 4.0 else data.liked_from,
        "online": data.online or None,
        "num_events": data.num_events if data.dataset == "synthetic" else None,
        "validation": data.validation_share,
        "test": data.test_share,
        "hash_buckets": data.hash_buckets,
        "pseudonym_key": None if key_file is None else read_key(key_file),
    }
    read = {
        "user_id": data.user_column,
        "item_id": data.item_column,
        "time": data.time_column,
        "label": data.label_column,
        "event_columns": data.event_columns or None,
        "training_only_columns": data.training_only_columns or None,
        "min_user_events": data.min_user_events or None,
        "min_item_events": data.min_item_events or None,
    }
    given, read = (
        {k: v for k, v in options.items() if v is not None}
        for options in (given, read)
    )
    if data.dataset == "synthetic" and read:
        name, value = next(iter(read.items()))
        name = _RENAMED.get(name, name)
        value = ",".join(value) if isinstance(value, tuple) else value
        raise UserError(
            f"`--{name}` should be left out with --dataset=synthetic, which "
            f"is invented as it is. Received: `--{name}` = {value}. Choose "
            "--num_events instead."
        )
    return {
        "tasks": data.tasks or None,
        "split": data.split,
        "read": read or None,
        **given,
    }


@contextlib.contextmanager
def _named_flags(data: RankingDataConfig) -> Iterator[None]:
    """Names options as flags in the messages of mistakes."""
    try:
        yield
    except UserError as error:
        names = [field.name for field in dataclasses.fields(data)]
        message = as_flags(str(error), names)
        for name, flag in _RENAMED.items():
            message = message.replace(f"`{name}`", f"`--{flag}`")
        raise UserError(message) from None
