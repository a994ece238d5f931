"""The columns of a data set, with their owners and encodings."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kd_tfrs.data.columns import EVENT_ONLY, Column, Encoding, Owner
from kd_tfrs.data.inference import guess_columns
from kd_tfrs.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Schema:
    """Every column of a data set: one user id, one item id, and the rest.

    Args:
        columns: tuple of `Column`; names are unique, since a batch is one
            dict by name. At most one time, one label and one weight.

    Raises:
        UserError: when an id is missing or a name is repeated.

    Example:
    >>> schema = Schema(
    ...     (
    ...         Column("user_id", "user", "id"),
    ...         Column("item_id", "item", "id"),
    ...         Column("genres", "item", "categories"),
    ...     )
    ... )
    >>> [column.name for column in schema.item_features]
    ['item_id', 'genres']
    """

    columns: tuple[Column, ...]

    def __repr__(self) -> str:
        columns = (
            f"{c.name} ({c.owner.value} {c.encoding.value})"
            for c in self.columns
        )
        return f"Schema({', '.join(columns)})"

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", tuple(self.columns))
        for column in self.columns:
            if not isinstance(column, Column):
                raise UserError(
                    "`columns` should be `Column` objects. Received: "
                    f"{column!r}. Wrap it in Column(name, owner, encoding)."
                )
        names = [column.name for column in self.columns]
        for name in names:
            if names.count(name) > 1:
                raise UserError(
                    "Column names should be unique in a schema. Received: "
                    f"{name!r} {names.count(name)} times. Rename one."
                )
        for owner in (Owner.USER, Owner.ITEM):
            ids = self._names(Encoding.ID, owner)
            if len(ids) != 1:
                raise UserError(
                    f"A schema should have exactly one id of the {owner.value}."
                    f" Received: {ids}. Give one Column(name, "
                    f"'{owner.value}', 'id')."
                )
        for encoding in EVENT_ONLY:
            encoded = self._names(encoding)
            if len(encoded) > 1:
                raise UserError(
                    f"A schema should have at most one {encoding.value}. "
                    f"Received: {encoded}. Keep one of them."
                )

    def _names(
        self, encoding: Encoding, owner: Owner | None = None
    ) -> list[str]:
        return [
            column.name
            for column in self.columns
            if column.encoding is encoding and owner in (None, column.owner)
        ]

    def _single(self, encoding: Encoding) -> str | None:
        return next(iter(self._names(encoding)), None)

    @property
    def user_id(self) -> str:
        """Name of the user id."""
        return self._names(Encoding.ID, Owner.USER)[0]

    @property
    def item_id(self) -> str:
        """Name of the item id."""
        return self._names(Encoding.ID, Owner.ITEM)[0]

    @property
    def time(self) -> str | None:
        """Name of the event's time, or None."""
        return self._single(Encoding.TIME)

    @property
    def label(self) -> str | None:
        """Name of the event's label, or None."""
        return self._single(Encoding.LABEL)

    @property
    def weight(self) -> str | None:
        """Name of the event's weight, or None."""
        return self._single(Encoding.WEIGHT)

    @property
    def user_features(self) -> tuple[Column, ...]:
        """Columns of the user, the id among them."""
        return tuple(c for c in self.columns if c.owner is Owner.USER)

    @property
    def item_features(self) -> tuple[Column, ...]:
        """Columns of the item, the id among them."""
        return tuple(c for c in self.columns if c.owner is Owner.ITEM)

    @property
    def context_features(self) -> tuple[Column, ...]:
        """Columns of the event other than time, label and weight."""
        return tuple(
            c
            for c in self.columns
            if c.owner is Owner.EVENT and c.encoding not in EVENT_ONLY
        )

    def served(self) -> Schema:
        """Returns the schema of the columns that are available when serving.

        Returns:
            This schema without its `training_only` columns.

        Example:
        ```python
        FeatureSet.adapt(schema.columns, table)  # a teacher
        FeatureSet.adapt(schema.served().columns, table)  # its student
        ```
        """
        return Schema(tuple(c for c in self.columns if not c.training_only))

    def to_json(self) -> str:
        """Returns the schema as JSON text, which `from_json` reads."""
        return json.dumps([column.to_dict() for column in self.columns])

    @classmethod
    def from_json(cls, text: str) -> Schema:
        """Reads a schema from the text of `to_json`.

        Args:
            text: JSON text.

        Returns:
            An equal `Schema`.

        Raises:
            UserError: when the text is not a schema.
        """
        try:
            return cls(tuple(Column(**entry) for entry in json.loads(text)))
        except (TypeError, json.JSONDecodeError) as error:
            raise UserError(
                "A schema in JSON should be a list of columns as written by "
                f"Schema.to_json. Received: {text[:60]!r} ({error}). Write it "
                "again with to_json."
            ) from None

    @classmethod
    def infer(
        cls,
        events: pd.DataFrame,
        users: pd.DataFrame | None = None,
        items: pd.DataFrame | None = None,
        *,
        user_id: str = "user_id",
        item_id: str = "item_id",
        time: str | None = None,
        label: str | None = None,
        weight: str | None = None,
    ) -> Schema:
        """Guesses a schema from the user's own tables.

        The result is a guess: check it, and write the schema out where it is
        wrong. Time, label and weight are recognised by their usual names
        ("timestamp", "rating", "weight", ...) when not named.

        Args:
            events: one row an event, with both ids.
            users: one row a user with the user id, or None.
            items: one row an item with the item id, or None.
            user_id: name of the user id.
            item_id: name of the item id.
            time: name of the event's time; None guesses it.
            label: name of the event's label; None guesses it.
            weight: name of the event's weight; None guesses it.

        Returns:
            A `Schema` of all columns.

        Raises:
            UserError: when a named column is missing.

        Example:
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"user_id": [1], "item_id": [2], "rating": 3})
        >>> Schema.infer(frame).label
        'rating'
        """
        special = {"time": time, "label": label, "weight": weight}
        return cls(
            guess_columns(events, users, items, user_id, item_id, special)
        )
