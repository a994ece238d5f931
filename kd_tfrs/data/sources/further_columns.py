"""Options of the user's own files: task labels and further feature columns.

Without a schema, `user_files.read` reads only the columns that it recognises:
ids, time, label, weight and title. `FurtherColumns` names the columns to read
in addition, checks that the files have them, and adds them to the schema.
"""

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

# Roles that are guessed from names only. A column that is listed in
# `FurtherColumns` does not get such a role because of its name.
_ONLY_GUESSED = ("weight", "title")


@dataclass(frozen=True)
class FurtherColumns:
    """Columns to read in addition to ids, time, label, weight and title.

    Args:
        tasks: names of tasks, see `build_examples`. Tasks that are columns of
            the events are labels and never features.
        event_columns: columns of the events that are features.
        training_only_columns: columns of the events, or of the tables of
            users and items, that are features of teachers only.

    Raises:
        UserError: when an argument is a string instead of a list.

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
        """Returns the names of the arguments that are not empty."""
        names = [field.name for field in dataclasses.fields(self)]
        return [name for name in names if getattr(self, name)]

    @property
    def _names(self) -> set[str]:
        """All listed columns and tasks."""
        return {
            *self.tasks,
            *self.event_columns,
            *self.training_only_columns,
        }

    def columns_of(self, path: Path) -> list[str]:
        """Returns the columns of a file.

        Args:
            path: a file of a supported format.

        Returns:
            Names of columns. The first line of JSON lines may lack a listed
            field, such as a rare label; all lines are then read.

        Raises:
            UserError: when the file cannot be read.
        """
        columns = readers.column_names(path)
        missing = self._names - {*columns}
        if readers.format_of(path) == "JSON lines" and missing:
            return json_lines.read(path, None).column_names
        return columns

    def roles(self, guessed: Mapping[str, str]) -> dict[str, str]:
        """Removes guessed roles of listed columns.

        Args:
            guessed: column names by role.

        Returns:
            Column names by role, without "weight" and "title" if their column
            is listed; other roles are kept.
        """
        return {
            role: name
            for role, name in guessed.items()
            if role not in _ONLY_GUESSED or name not in self._names
        }

    def to_read(
        self,
        path: str | Path,
        columns: Sequence[str],
        roles: Mapping[str, str],
        side: Collection[str] = (),
    ) -> list[str]:
        """Returns the columns to read in addition to those with a role.

        Raises:
            UserError: when a listed column is missing, or has a role, is the
                label of a task, or is in a table of users or items.
        """
        for task in self.tasks:
            if task not in columns and task not in (RATING, LIKED):
                raise _wrong("tasks", path, task, _absent(columns))
        for option, available, excluded in (
            ("event_columns", columns, side),
            ("training_only_columns", (*columns, *side), ()),
        ):
            for name in getattr(self, option):
                why = self._problem(name, available, roles, excluded)
                if why:
                    raise _wrong(option, path, name, why)
        hidden = [n for n in self.training_only_columns if n not in side]
        names = [*self.event_columns, *hidden, *self.tasks]
        with_role = {*roles.values()}
        return [
            n
            for n in dict.fromkeys(names)
            if n in columns and n not in with_role
        ]

    def _problem(
        self,
        name: str,
        available: Collection[str],
        roles: Mapping[str, str],
        excluded: Collection[str],
    ) -> str | None:
        if name not in available:
            return _absent(available)
        if name in roles.values():
            role = next(role for role, own in roles.items() if own == name)
            return f"which is read as the {role}"
        if name in self.tasks:
            return "which is the label of a task"
        if name in excluded:
            return "which is in the table of users or items"
        return None

    def labels(self, schema: Schema) -> list[str]:
        """Returns the columns that are task labels besides the schema's label.

        Args:
            schema: see `described`.

        Returns:
            Names of columns of the events. If there are any, events without
            the schema's label are kept, since they may have another label.
        """
        return [
            column.name
            for column in schema.context_features
            if column.name in self.tasks
        ]

    def check_labels(
        self, frames: Iterable[pd.DataFrame], schema: Schema
    ) -> None:
        """Refuses task labels that are text or infinite.

        Cleaning would treat them as missing.

        Raises:
            UserError: when a label is invalid; the error names the event.
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
        """Adds the further columns to a schema.

        Args:
            schema: schema of all other columns.
            events: events to guess the encodings from.
            more: names of the further columns, see `to_read`.

        Returns:
            A schema in which labels of tasks are numbers, other columns are
            features of the event, and `training_only` is marked.

        Raises:
            UserError: when a training-only column is not a feature.
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
            # For example the title of items, which has been renamed.
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


def _absent(available: Collection[str]) -> str:
    return f"which is not one of {list(available)}"


def _wrong(option: str, path: str | Path, name: str, why: str) -> UserError:
    also = f" ({RATING} and {LIKED} apart)" if option == "tasks" else ""
    return UserError(
        f"`{option}` should be further columns of `{path}`{also}. Received: "
        f"{name!r}, {why}. Name another column or leave it out."
    )
