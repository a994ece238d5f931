"""Options with their help and limits beside them, and what is made of them."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from kd_tfrs.errors import UserError

if TYPE_CHECKING:
    from typing_extensions import Self

# Types of options by the names that annotations have.
_TYPES = {
    "int": numbers.Integral,
    "float": numbers.Real,
    "str": str,
    "bool": bool,
}
# Flags that were renamed, old to new.
RENAMED = {
    "distillation_over": "distillation_candidates",
    "pruning_final_sparsity": "pruning_sparsities",
}


def check_renamed(names: Iterable[str], source: str) -> None:
    """Refuses flags by names that they no longer have.

    Raises:
        UserError: one of them has another name now.

    Example:
    >>> check_renamed(["seed"], "the command line")
    """
    for name in names:
        if name in RENAMED:
            raise UserError(
                f"`--{name}` is called `--{RENAMED[name]}` now. Received: "
                f"the old name in {source}. Write `--{RENAMED[name]}`."
            )


def option(default: Any, help_text: str, **limits: Any) -> Any:
    """A field of a dataclass that becomes a flag."""
    return dataclasses.field(
        default=default, metadata={"help": help_text, **limits}
    )


def again(base: type, name: str, default: Any, **limits: Any) -> Any:
    """An option of a base class with another default."""
    (field,) = (f for f in dataclasses.fields(base) if f.name == name)
    return dataclasses.field(
        default=default, metadata={**field.metadata, **limits}
    )


class Checked:
    """Checks the limits of the fields."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None:
                _check_type(field, value)
                _check_limits(field, value)
                _check_choices(field, value)


def _check_type(field: dataclasses.Field, value: Any) -> None:
    """Checks the type of an option; flags have it, arguments may not."""
    kind = getattr(field.type, "__name__", None) or str(field.type)
    if str(field.type).startswith("tuple"):
        kind = str(field.type)
    kind = kind.replace(" | None", "")
    inner = kind.removeprefix("tuple[").removesuffix(", ...]")
    expected = _TYPES.get(inner)
    if expected is None:
        return
    is_list = kind != inner
    parts = value if is_list and isinstance(value, tuple) else (value,)
    fits = isinstance(value, tuple) == is_list and all(
        isinstance(part, expected)
        and (expected is bool or not isinstance(part, bool))
        for part in parts
    )
    if not fits:
        shown = f"a list of {inner}" if is_list else f"of type {inner}"
        raise UserError(
            f"`{field.name}` should be {shown}. Received: `{field.name}` = "
            f"{value!r}."
        )


def _check_limits(field: dataclasses.Field, value: Any) -> None:
    low, high = field.metadata.get("low"), field.metadata.get("high")
    parts = value if isinstance(value, tuple) else (value,)
    too_low = low is not None and any(part < low for part in parts)
    if too_low or (high is not None and any(part > high for part in parts)):
        top = "" if high is None else f" and at most {high:g}"
        raise UserError(
            f"`{field.name}` should be at least {low:g}{top}. "
            f"Received: `{field.name}` = {value}."
        )


def _check_choices(field: dataclasses.Field, value: Any) -> None:
    choices = field.metadata.get("choices")
    parts = value if isinstance(value, tuple) else (value,)
    if choices and any(part not in choices for part in parts):
        raise UserError(
            f"`{field.name}` should be one of {', '.join(choices)}. "
            f"Received: `{field.name}` = {value!r}."
        )


class FlatConfig:
    """A whole run: a seed, and sections of options named after their owner.

    A subclass is a frozen dataclass with a field `seed` and a field for each
    of its `sections`.

    Attributes:
        task: what is learned, "retrieval" or "ranking".
        sections: names of fields, and the prefix of their flags.
    """

    task: ClassVar[str]
    sections: ClassVar[Mapping[str, str]]

    def flat(self) -> dict[str, Any]:
        """Every option by its flag's name, in the order of the groups."""
        flat = {"seed": self.seed}
        for section, prefix in self.sections.items():
            options = getattr(self, section)
            for field in dataclasses.fields(options):
                value = getattr(options, field.name)
                if isinstance(value, tuple):
                    value = list(value)
                flat[prefix + field.name] = value
        return flat

    @classmethod
    def from_flat(cls, flat: dict[str, Any]) -> Self:
        """The inverse of `flat`.

        Raises:
            UserError: a value is out of its range, or an option has another
                name now.
        """
        check_renamed(flat, "the recorded flags")
        sections = {}
        default = cls()
        for section, prefix in cls.sections.items():
            options = getattr(default, section)
            changes = {}
            for field in dataclasses.fields(options):
                value = flat.get(
                    prefix + field.name, getattr(options, field.name)
                )
                changes[field.name] = (
                    tuple(value) if isinstance(value, list) else value
                )
            sections[section] = _named_errors(options, changes, prefix)
        return cls(seed=flat.get("seed", default.seed), **sections)


def _named_errors(options: Any, changes: dict[str, Any], prefix: str) -> Any:
    try:
        return dataclasses.replace(options, **changes)
    except UserError as error:
        raise UserError(as_flags(str(error), changes, prefix)) from None


def as_flags(message: str, names: Iterable[str], prefix: str = "") -> str:
    """A message about arguments, as one about flags.

    Example:
    >>> as_flags("`heads` should be positive.", ["heads"], "student_")
    '`--student_heads` should be positive.'
    """
    for name in names:
        message = message.replace(f"`{name}`", f"`--{prefix}{name}`")
    return message
