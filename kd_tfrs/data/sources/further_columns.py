"""Columns of the user's own events that are asked for by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from kd_tfrs.data import inference
from kd_tfrs.data.formats import json_lines, readers
from kd_tfrs.data.schema import Column, Encoding, Owner, Schema
from kd_tfrs.data.targets import LIKED, RATING, label_numbers
from kd_tfrs.errors import UserError

# Roles that no option can name: a column that is asked for by its name has
# not got one of these just because it is called so.
_ONLY_GUESSED = ("weight", "title")


@dataclass(frozen=True)
class FurtherColumns:
    """What is read of events beside ids, time, label, weight and title.

    Args:
        tasks: names of tasks, see `build_examples`; those that are columns of
            the events are labels and never features.
        event_columns: columns of the events that models look at.
        training_only_columns: columns of the events, or of the tables of
            users and items, that only teachers look at.

    Raises:
        UserError: when one of them is a text rather than a list of texts.

    Example:
    ```python
    FurtherColumns(tasks=["click", "like"], event_columns=["device"])
    ```
    """

    tasks: Sequence[str] = ()
    event_columns: Sequence[str] = ()
    training_only_columns: Sequence[str] = ()

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, str):
                raise UserError(
                    f"`{field.name}` should be a list of different names. "
                    f"Received: {value!r}. Write it as [{value!r}]."
                )
            object.__setattr__(self, field.name, tuple(dict.fromkeys(value)))

    def given(self) -> list[str]:
        """Names of the arguments that are not empty."""
        names = [field.name for field in dataclasses.fields(self)]
        return [name for name in names if getattr(self, name)]

    @property
    def _asked(self) -> set[str]:
        return {
            *self.tasks,
            *self.event_columns,
            *self.training_only_columns,
        }

    def columns_of(self, path: Path) -> list[str]:
        """What columns a file has.

        Args:
            path: of a known format.

        Returns:
            Their names. A field that only later lines of JSON have, such as
            a label that few events have, is found when it is asked for.

        Raises:
            UserError: when the file cannot be read.
        """
        found = readers.column_names(path)
        lacks = self._asked - {*found}
        if readers.format_of(path) == "JSON lines" and lacks:
            return json_lines.read(path, None).column_names
        return found

    def roles(self, guessed: Mapping[str, str]) -> dict[str, str]:
        """What columns are, but for guesses that are asked for by name.

        Args:
            guessed: column names by role.

        Returns:
            The roles that remain: "weight" may go, an id may not.
        """
        return {
            role: name
            for role, name in guessed.items()
            if role not in _ONLY_GUESSED or name not in self._asked
        }

    def to_read(
        self,
        path: Path,
        found: Sequence[str],
        roles: Mapping[str, str],
        side: Collection[str] = (),
    ) -> list[str]:
        """Columns that have to be read beside those with a role.

        Args:
            path: a file of events, for messages.
            found: its columns.
            roles: names of columns that are read anyhow, by what they are.
            side: columns of the tables of users and items.

        Returns:
            Their names.

        Raises:
            UserError: when a column is not there, or is something else.
        """
        for task in self.tasks:
            if task not in found and task not in (RATING, LIKED):
                raise _wrong("tasks", path, task, _absent(found))
        for option, known, others in (
            ("event_columns", found, side),
            ("training_only_columns", (*found, *side), ()),
        ):
            for name in getattr(self, option):
                why = self._problem(name, known, roles, others)
                if why:
                    raise _wrong(option, path, name, why)
        hidden = [n for n in self.training_only_columns if n not in side]
        names = [*self.event_columns, *hidden, *self.tasks]
        taken = {*roles.values()}
        return [
            n for n in dict.fromkeys(names) if n in found and n not in taken
        ]

    def _problem(
        self,
        name: str,
        known: Collection[str],
        roles: Mapping[str, str],
        others: Collection[str],
    ) -> str | None:
        if name not in known:
            return _absent(known)
        if name in roles.values():
            role = next(role for role, own in roles.items() if own == name)
            return f"which is read as the {role}"
        if name in self.tasks:
            return "which is the label of a task"
        if name in others:
            return "which stands in the table of users or items"
        return None

    def labels(self, schema: Schema) -> list[str]:
        """Labels of tasks beside the schema's.

        Args:
            schema: see `described`.

        Returns:
            Names of columns of the events. Where there are some, an event
            without the schema's label is still one to learn from.
        """
        return [
            column.name
            for column in schema.context_features
            if column.name in self.tasks
        ]

    def check_labels(
        self, frames: Iterable[pd.DataFrame], schema: Schema
    ) -> None:
        """Refuses labels of tasks that are text or infinite.

        Cleaning would take them for missing ones.

        Args:
            frames: events as they were read.
            schema: see `described`.

        Raises:
            UserError: naming the column and the event.
        """
        names = self.labels(schema)
        if names and schema.label is not None:
            names.append(schema.label)
        for frame in frames:
            for name in names:
                label_numbers(frame[name], name)

    def described(
        self, schema: Schema, events: pd.DataFrame, more: Sequence[str]
    ) -> Schema:
        """The schema with what was read beside it.

        Args:
            schema: of all other columns.
            events: some events, to guess encodings from.
            more: see `to_read`.

        Returns:
            A schema in which labels of tasks are numbers, other columns are
            features of the event, and `training_only` is marked.

        Raises:
            UserError: when a column that only teachers see is no feature.
        """
        columns = [*schema.columns]
        for name in more:
            if name in self.tasks:
                columns.append(Column(name, Owner.EVENT, Encoding.NUMBER))
            else:
                columns.append(
                    inference.guess_column(events[name], Owner.EVENT)
                )
        hidden = {*self.training_only_columns}
        names = [column.name for column in columns]
        for name in sorted(hidden - {*names}):
            # Such as an item's title, which has another name from here on.
            raise UserError(
                "`training_only_columns` should be features. Received: "
                f"{name!r}, and the columns are {names}. Name one of them."
            )
        return Schema(
            tuple(
                dataclasses.replace(column, training_only=True)
                if column.name in hidden
                else column
                for column in columns
            )
        )


def _absent(known: Collection[str]) -> str:
    return f"which is none of {list(known)}"


def _wrong(option: str, path: Path, name: str, why: str) -> UserError:
    also = f" ({RATING} and {LIKED} apart)" if option == "tasks" else ""
    return UserError(
        f"`{option}` should be further columns of `{path}`{also}. Received: "
        f"{name!r}, {why}. Name another column or leave it out."
    )
