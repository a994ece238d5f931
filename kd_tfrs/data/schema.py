"""What columns exist, whose they are and how they are encoded."""

from __future__ import annotations

import json
from dataclasses import KW_ONLY, asdict, dataclass
from enum import Enum
from typing import TYPE_CHECKING

from kd_tfrs.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


class Owner(str, Enum):
    """Whose a column is: the user's, the item's or the event's."""

    USER = "user"
    ITEM = "item"
    EVENT = "event"


class Encoding(str, Enum):
    """How a column reaches a model."""

    ID = "id"
    CATEGORY = "category"
    NUMBER = "number"
    BUCKETS = "buckets"
    CATEGORIES = "categories"
    TEXT = "text"
    TIME = "time"
    LABEL = "label"
    WEIGHT = "weight"


_EVENT_ONLY = (Encoding.TIME, Encoding.LABEL, Encoding.WEIGHT)
# Which encodings listen to which option, and the option's default.
_OPTIONS = {
    "num_buckets": (None, (Encoding.BUCKETS,)),
    "separator": ("|", (Encoding.CATEGORIES,)),
    "max_tokens": (
        10_000,
        (Encoding.TEXT, Encoding.CATEGORY, Encoding.CATEGORIES),
    ),
    "max_length": (16, (Encoding.TEXT, Encoding.CATEGORIES)),
}


@dataclass(frozen=True)
class Column:
    """One column of the data.

    Args:
        name: the column's name in the user's own tables.
        owner: an `Owner` or its value ("user", "item", "event").
        encoding: an `Encoding` or its value. Ids belong to the user or the
            item; time, label and weight belong to the event.
        num_buckets: for `BUCKETS` only, which need it: how many, 2 or more.
        separator: for `CATEGORIES`: what stands between the values of a cell.
        max_tokens: for `TEXT`, `CATEGORY` and `CATEGORIES`: upper bound of the
            vocabulary.
        max_length: for `TEXT` and `CATEGORIES`: tokens or values kept a cell.

    Raises:
        UserError: when an option is out of range, or would be ignored by the
            encoding.

    Example:
    >>> Column("age", "user", "buckets", num_buckets=8).encoding.value
    'buckets'
    """

    name: str
    owner: Owner
    encoding: Encoding
    _: KW_ONLY
    num_buckets: int | None = None
    separator: str = "|"
    max_tokens: int = 10_000
    max_length: int = 16

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise UserError(
                "`name` of a column should be a non-empty string. "
                f"Received: `name` = {self.name!r}. Name the column."
            )
        object.__setattr__(self, "owner", self._member("owner", Owner))
        object.__setattr__(self, "encoding", self._member("encoding", Encoding))
        self._check_owner()
        self._check_options()

    def _member(self, field: str, kind: type[Enum]) -> Enum:
        value = getattr(self, field)
        try:
            return kind(value)
        except ValueError:
            names = ", ".join(member.value for member in kind)
            raise UserError(
                f"`{field}` of column {self.name!r} should be one of {names}. "
                f"Received: `{field}` = {value!r}. Choose one of these."
            ) from None

    def _check_owner(self) -> None:
        if self.encoding in _EVENT_ONLY:
            allowed = (Owner.EVENT,)
        elif self.encoding is Encoding.ID:
            allowed = (Owner.USER, Owner.ITEM)
        else:
            return
        if self.owner not in allowed:
            names = " or ".join(owner.value for owner in allowed)
            raise UserError(
                f"Column {self.name!r} is encoded as {self.encoding.value}, so "
                f"its `owner` should be {names}. Received: `owner` = "
                f"{self.owner.value!r}. Change the owner or the encoding."
            )

    def _check_options(self) -> None:
        for option, (default, users) in _OPTIONS.items():
            if getattr(self, option) != default and self.encoding not in users:
                names = ", ".join(user.value for user in users)
                raise UserError(
                    f"`{option}` is used by {names} only. Received: "
                    f"`{option}` = {getattr(self, option)!r} for column "
                    f"{self.name!r} ({self.encoding.value}). Leave it out."
                )
        if self.encoding is Encoding.BUCKETS:
            self._check_at_least("num_buckets", 2)
        self._check_at_least("max_tokens", 1)
        self._check_at_least("max_length", 1)
        if not isinstance(self.separator, str) or not self.separator:
            raise UserError(
                f"`separator` of column {self.name!r} should be a non-empty "
                f"string. Received: `separator` = {self.separator!r}. Give "
                "the text between two values, such as '|'."
            )

    def _check_at_least(self, option: str, minimum: int) -> None:
        value = getattr(self, option)
        good = isinstance(value, int) and not isinstance(value, bool)
        if not good or value < minimum:
            raise UserError(
                f"`{option}` of column {self.name!r} should be an integer of "
                f"at least {minimum}. Received: `{option}` = {value!r}. Give "
                f"{option} >= {minimum}."
            )


@dataclass(frozen=True)
class Schema:
    """Every column of a data set: one user id, one item id, and the rest.

    Args:
        columns: tuple of `Column`; names are unique, since a batch is one
            dict by name. At most one time, one label and one weight.

    Raises:
        UserError: when an id is missing or a column stands twice.

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
            found = self._names(Encoding.ID, owner)
            if len(found) != 1:
                raise UserError(
                    f"A schema should have exactly one id of the {owner.value}."
                    f" Received: {found}. Give one Column(name, "
                    f"'{owner.value}', 'id')."
                )
        for encoding in _EVENT_ONLY:
            found = self._names(encoding)
            if len(found) > 1:
                raise UserError(
                    f"A schema should have at most one {encoding.value}. "
                    f"Received: {found}. Keep one of them."
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
            if c.owner is Owner.EVENT and c.encoding not in _EVENT_ONLY
        )

    def to_json(self) -> str:
        """Gives the schema as JSON text that `from_json` reads back."""
        return json.dumps([asdict(column) for column in self.columns])

    @classmethod
    def from_json(cls, text: str) -> Schema:
        """Reads what `to_json` wrote.

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

        A guess to start from: read it, and write the schema out where it is
        wrong. Time, label and weight are found by their usual names
        ("timestamp", "rating", "weight", ...) when not named.

        Args:
            events: one row an event, with both ids.
            users: one row a user with the user id, or None.
            items: one row an item with the item id, or None.
            user_id: name of the user id.
            item_id: name of the item id.
            time: name of the event's time, or None to look for it.
            label: name of the event's label, or None to look for it.
            weight: name of the event's weight, or None to look for it.

        Returns:
            A `Schema` of all columns.

        Raises:
            UserError: when a named column is not there.

        Example:
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"user_id": [1], "item_id": [2], "rating": 3})
        >>> Schema.infer(frame).label
        'rating'
        """
        from kd_tfrs.data import inference

        special = {"time": time, "label": label, "weight": weight}
        return cls(
            inference.guess_columns(
                events, users, items, user_id, item_id, special
            )
        )
