"""What every source of data hands to `clean`."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from kd_tfrs.data.schema import Schema


@dataclass(frozen=True)
class Tables:
    """Raw tables, read but not yet cleaned.

    Args:
        events: one row an event, or given splits by name.
        users: one row a user, or None when nothing is known but ids.
        items: one row an item, or None likewise.
        schema: the columns of all of them.
    """

    events: pd.DataFrame | dict[str, pd.DataFrame]
    users: pd.DataFrame | None
    items: pd.DataFrame | None
    schema: Schema
