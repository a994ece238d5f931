"""Raw tables, which every source passes to `clean`."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from kd_tfrs.data.schema import Schema


@dataclass(frozen=True)
class Tables:
    """Raw tables, read but not yet cleaned.

    Args:
        events: one row per event, or given splits by name.
        users: one row per user, or None without features of users.
        items: one row per item, or None likewise.
        schema: the columns of all tables.
    """

    events: pd.DataFrame | dict[str, pd.DataFrame]
    users: pd.DataFrame | None
    items: pd.DataFrame | None
    schema: Schema
