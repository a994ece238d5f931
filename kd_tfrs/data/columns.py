"""One column of the data: its owner and its encoding."""

from __future__ import annotations

from dataclasses import KW_ONLY, asdict, dataclass
from enum import Enum
from typing import Any

from kd_tfrs.errors import UserError


class Owner(str, Enum):
    """The owner of a column: the user, the item or the event."""

    USER = "user"
    ITEM = "item"
    EVENT = "event"


class Encoding(str, Enum):
    """The encoding of a column for a model."""

    ID = "id"
    CATEGORY = "category"
    NUMBER = "number"
    BUCKETS = "buckets"
    CATEGORIES = "categories"
    TEXT = "text"
    TIME = "time"
    LABEL = "label"
    WEIGHT = "weight"


EVENT_ONLY = (Encoding.TIME, Encoding.LABEL, Encoding.WEIGHT)
# The default of each option, and the encodings that use it.
_OPTIONS = {
    "num_buckets": (None, (Encoding.BUCKETS,)),
    "separator": ("|", (Encoding.CATEGORIES,)),
    "max_tokens": (
        10_000,
        (Encoding.TEXT, Encoding.CATEGORY, Encoding.CATEGORIES),
    ),
    "max_length": (16, (Encoding.TEXT, Encoding.CATEGORIES)),
    "hash_buckets": (None, (Encoding.ID, Encoding.CATEGORY)),
}
# Options that were added later. They are not written at their default, so that
# the fingerprints of data in older run folders do not change.
_LATER = ("hash_buckets", "training_only")


@dataclass(frozen=True)
class Column:
    """One column of the data.

    Args:
        name: the column's name in the user's own tables.
        owner: an `Owner` or its value ("user", "item", "event").
        encoding: an `Encoding` or its value. Ids belong to the user or the
            item; time, label and weight belong to the event.
        num_buckets: for `BUCKETS`, required: number of buckets, 2 or more.
        separator: for `CATEGORIES`: separator of the values in a cell.
        max_tokens: for `TEXT`, `CATEGORY` and `CATEGORIES`: upper bound of the
            vocabulary.
        max_length: for `TEXT` and `CATEGORIES`: maximum number of tokens or
            values per cell.
        hash_buckets: for `ID` and `CATEGORY`: number of buckets, 2 or more,
            into which values are hashed instead of using a vocabulary. An
            unknown value then shares the embedding of its bucket.
        training_only: whether the column is a privileged feature, which is
            available in training (such as the position of an impression) and
            not when serving. A teacher may use it, a served model must not.

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
    hash_buckets: int | None = None
    training_only: bool = False

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
        self._check_hash_buckets()
        self._check_training_only()

    def to_dict(self) -> dict[str, Any]:
        """Gives the arguments that make an equal column.

        Returns:
            Arguments by name, fit for JSON; later options only where set.

        Example:
        >>> list(Column("age", "user", "number").to_dict())[:3]
        ['name', 'owner', 'encoding']
        """
        later = {name: Column.__dict__[name] for name in _LATER}
        return {
            name: value
            for name, value in asdict(self).items()
            if name not in later or value != later[name]
        }

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
        if self.encoding in EVENT_ONLY:
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
        for option, (default, encodings) in _OPTIONS.items():
            value = getattr(self, option)
            if value != default and self.encoding not in encodings:
                names = ", ".join(e.value for e in encodings)
                raise UserError(
                    f"`{option}` is used by {names} only. Received: "
                    f"`{option}` = {value!r} for column "
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

    def _check_hash_buckets(self) -> None:
        if self.hash_buckets is None:
            return
        self._check_at_least("hash_buckets", 2)
        if self.max_tokens != _OPTIONS["max_tokens"][0]:
            raise UserError(
                f"Column {self.name!r} should have `hash_buckets` or "
                f"`max_tokens`. Received: both, {self.hash_buckets} and "
                f"{self.max_tokens}. Hashing needs no vocabulary: leave "
                "max_tokens out."
            )

    def _check_training_only(self) -> None:
        if not isinstance(self.training_only, bool):
            raise UserError(
                f"`training_only` of column {self.name!r} should be True or "
                f"False. Received: `training_only` = {self.training_only!r}. "
                "Give a bool."
            )
        if self.training_only and self.encoding in (Encoding.ID, *EVENT_ONLY):
            raise UserError(
                "`training_only` is for features. Received: `training_only` = "
                f"True for column {self.name!r} ({self.encoding.value}), which "
                "is an id or not a feature. Leave it out."
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
